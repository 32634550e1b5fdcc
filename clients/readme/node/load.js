// The load of every program here: INCR one after the other, with a rest now and then, until the
// key `stop` is there. A command that fails is counted, and not sent again: the server has not
// executed it.
import { setTimeout as pause } from "node:timers/promises";

export async function load(incr, get) {
  let acknowledged = 0;
  let failed = 0;
  for (let turn = 1, stop = null; stop === null; turn += 1) {
    try {
      await incr("n");
      acknowledged += 1;
    } catch {
      failed += 1;
    }
    stop = await get("stop").catch(() => null);
    await pause(turn % 10 === 0 ? 60 : 2);
  }
  console.log(`acknowledged=${acknowledged} failed=${failed}`);
}
