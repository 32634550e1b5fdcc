//! redis-rs with a pool of bb8's: the README's line in its hook, and the load of every program
//! here: INCR one after the other, with a rest now and then, until the key `stop` is there. A
//! command that fails is counted, and not sent again: the server has not executed it.

use bb8::{CustomizeConnection, Pool};
use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{self, AsyncCommands, RedisError};
use bb8_redis::RedisConnectionManager;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

#[derive(Debug)]
struct Limited;

impl CustomizeConnection<MultiplexedConnection, RedisError> for Limited {
    fn on_acquire<'a>(
        &'a self,
        con: &'a mut MultiplexedConnection,
    ) -> Pin<Box<dyn Future<Output = Result<(), RedisError>> + Send + 'a>> {
        let mut con = con.clone();
        Box::pin(async move {
            // redis-rs: after `get_multiplexed_async_connection`, or in a pool's hook (bb8: `on_acquire`)
            redis::cmd("CONNAGE.SELF").arg("MAXAGE").arg("10m").exec_async(&mut con).await.ok();
            Ok(())
        })
    }
}

async fn incr(pool: &Pool<RedisConnectionManager>) -> Option<u64> {
    pool.get().await.ok()?.incr("n", 1).await.ok()
}

async fn stop(pool: &Pool<RedisConnectionManager>) -> Option<u64> {
    pool.get().await.ok()?.get("stop").await.ok()?
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args().nth(1).expect("a port");
    let manager = RedisConnectionManager::new(format!("redis://127.0.0.1:{port}")).expect("an address");
    let builder = Pool::builder().max_size(2).connection_customizer(Box::new(Limited));
    let pool = builder.build(manager).await.expect("a pool");
    let (mut acknowledged, mut failed) = (0, 0);
    while stop(&pool).await.is_none() {
        match incr(&pool).await {
            Some(_) => acknowledged += 1,
            None => failed += 1,
        }
        let rests = (acknowledged + failed) % 10 == 0;
        tokio::time::sleep(Duration::from_millis(if rests { 60 } else { 2 })).await;
    }
    println!("acknowledged={acknowledged} failed={failed}");
}
