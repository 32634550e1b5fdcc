import { Redis } from "ioredis";
import { load } from "./load.js";

const redis = new Redis({ host: "127.0.0.1", port: Number(process.argv[2]) });

// ioredis
redis.on("error", (error) => console.error(error.message));
redis.on("ready", () => redis.call("CONNAGE.SELF", "MAXAGE", "10m").catch(() => {}));

await load((key) => redis.incr(key), (key) => redis.get(key));
redis.disconnect();
