import org.apache.commons.pool2.PooledObject;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisFactory;
import redis.clients.jedis.JedisPool;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;

/**
 * Jedis with a pool's factory that has the README's line, and the load of every program here:
 * INCR one after the other, with a rest now and then, until the key `stop` is there. A command
 * that fails is counted, and not sent again: the server has not executed it.
 */
public class Limited extends JedisFactory {
    Limited(int port) {
        super(new HostAndPort("127.0.0.1", port), DefaultJedisClientConfig.builder().build());
    }

    @Override
    public PooledObject<Jedis> makeObject() throws Exception {
        PooledObject<Jedis> made = super.makeObject();
        Jedis jedis = made.getObject();
        // Jedis, in a pool's factory (`makeObject`)
        try { jedis.sendCommand(() -> "CONNAGE.SELF".getBytes(), "MAXAGE", "10m"); } catch (JedisDataException noModule) { }
        return made;
    }

    public static void main(String[] args) throws Exception {
        JedisPool pool = new JedisPool(new Limited(Integer.parseInt(args[0])));
        long acknowledged = 0;
        long failed = 0;
        for (boolean stop = false; !stop; Thread.sleep((acknowledged + failed) % 10 == 0 ? 60 : 2)) {
            try (Jedis jedis = pool.getResource()) {
                jedis.incr("n");
                acknowledged++;
            } catch (JedisException lost) {
                failed++;
            }
            try (Jedis jedis = pool.getResource()) {
                stop = jedis.get("stop") != null;
            } catch (JedisException lost) {
                // Asked again.
            }
        }
        System.out.println("acknowledged=" + acknowledged + " failed=" + failed);
        pool.close();
    }
}
