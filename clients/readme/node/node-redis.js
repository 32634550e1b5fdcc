import { createClient } from "redis";
import { load } from "./load.js";

const client = createClient({ socket: { host: "127.0.0.1", port: Number(process.argv[2]) } });

// node-redis: without a listener for `error`, the first lost connection ends the process
client.on("error", (error) => console.error(error.message));
client.on("ready", () => client.sendCommand(["CONNAGE.SELF", "MAXAGE", "10m"]).catch(() => {}));

await client.connect();
await load((key) => client.incr(key), (key) => client.get(key));
client.destroy();
