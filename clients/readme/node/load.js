// The load of every program here: INCR one after the other until the key `stop` is there. A
// command that fails is counted, and not sent again: the server has not executed it.
import { setTimeout as pause } from "node:timers/promises";

export async function load(incr, get) {
  let acknowledged = 0;
  let failed = 0;
  for (let stop = null; stop === null; await pause(2)) {
    try {
      await incr("n");
      acknowledged += 1;
    } catch {
      failed += 1;
    }
    stop = await get("stop").catch(() => null);
  }
  console.log(`acknowledged=${acknowledged} failed=${failed}`);
}
