// Rate limits for net/http, by RL.TAKE.
//
// go get github.com/redis/go-redis/v9
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	rate    = "100/m"
	burst   = 20
	policy  = `"default";q=20;w=12` // w: seconds in which an empty bucket fills.
	timeout = 50 * time.Millisecond
)

var plain = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]{1,64}$`)

// keyOf returns the key that a request is charged to. Authenticate first: anyone who invents keys gets a bucket for each.
func keyOf(r *http.Request) string {
	if name := r.Header.Get("X-Api-Key"); plain.MatchString(name) {
		return "limit:key:" + name
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return "limit:ip:" + host
}

func limit(rdb *redis.Client, next http.Handler) http.Handler {
	var warned atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		reply, err := rdb.Do(ctx, "RL.TAKE", keyOf(r), rate, burst).Int64Slice()
		cancel()
		if err != nil {
			// One line a second is enough.
			if now := time.Now().Unix(); warned.Swap(now) != now {
				log.Printf("rate limiter failed open: %v", err)
			}
			next.ServeHTTP(w, r)
			return
		}
		taken, left, waitMs, resetMs := reply[0], reply[2], reply[3], reply[4]
		ms := resetMs
		if taken == 0 {
			ms = waitMs
		}
		seconds := strconv.FormatInt((ms+999)/1000, 10)
		w.Header().Set("RateLimit-Policy", policy)
		w.Header().Set("RateLimit", fmt.Sprintf(`"default";r=%d;t=%s`, left, seconds))
		if taken == 0 {
			w.Header().Set("Retry-After", seconds)
			http.Error(w, "Too many requests", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func main() {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	options.ContextTimeoutEnabled = true // Without it a call outlives its context.
	options.MaxRetries = -1              // No second try: the request would wait for it.
	hello := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello\n") }
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), limit(redis.NewClient(options), http.HandlerFunc(hello))))
}
