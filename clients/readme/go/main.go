// go-redis with the README's options, and the load of every program here: INCR one after the
// other, with a rest now and then, until the key `stop` is there. A command that fails is counted, and not sent again by
// us: the server has not executed it.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

func client(addr string) *redis.Client {
	// go-redis
	return redis.NewClient(&redis.Options{Addr: addr, OnConnect: func(ctx context.Context, cn *redis.Conn) error {
		cn.Do(ctx, "CONNAGE.SELF", "MAXAGE", "10m") // its error, without the module, is left alone
		return nil
	}})
}

func main() {
	ctx := context.Background()
	client := client("127.0.0.1:" + os.Args[1])
	acknowledged, failed := 0, 0
	for client.Get(ctx, "stop").Err() != nil {
		if client.Incr(ctx, "n").Err() == nil {
			acknowledged++
		} else {
			failed++
		}
		if (acknowledged+failed)%10 == 0 {
			time.Sleep(60 * time.Millisecond)
		} else {
			time.Sleep(2 * time.Millisecond)
		}
	}
	fmt.Printf("acknowledged=%d failed=%d\n", acknowledged, failed)
}
