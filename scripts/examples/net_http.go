// Rate limits for net/http, by RL.TAKE, with the rules of the packages in ../clients.
//
// go get github.com/redis/go-redis/v9
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	rate      = "100/m"
	perSecond = 100.0 / 60
	burst     = 20
	timeout   = 50 * time.Millisecond
	inFlight  = 64          // Calls that wait for the server at once.
	share     = 1.0         // Of the limit, while the server does not answer: with four processes, 0.25.
	memory    = time.Second // A denial is remembered no longer, so that a raised limit or a refund is seen.
	mostKeys  = 10_000
)

// caller names who is charged: the header, if the request has exactly one, otherwise the address. Put the limit behind
// authentication: a header that nobody checked is a new bucket for the asking.
type caller struct {
	header     string
	trusted    []netip.Prefix // Proxies whose X-Forwarded-For is believed.
	unix       bool           // Whether a Unix socket is one.
	ipv6Prefix int            // One user of IPv6 has at least a /64.
	prefix     string
}

var port = regexp.MustCompile(`^:[0-9]{1,5}$`)

// parseAddress returns the address that text is, without port, brackets, zone and IPv4 mapping.
func parseAddress(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t")
	if rest, ok := strings.CutPrefix(text, "["); ok {
		host, after, closed := strings.Cut(rest, "]")
		if !closed || !strings.Contains(host, ":") || after != "" && !port.MatchString(after) {
			return netip.Addr{}, false
		}
		text = host
	} else if strings.Count(text, ":") == 1 {
		colon := strings.Index(text, ":")
		if !port.MatchString(text[colon:]) {
			return netip.Addr{}, false
		}
		text = text[:colon]
	}
	if strings.Contains(text, ":") {
		text, _, _ = strings.Cut(text, "%")
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap(), err == nil
}

// canonical returns the text of an address in a key: IPv4 as it is, IPv6 as its network.
func canonical(address netip.Addr, ipv6Prefix int) string {
	if address.Is4() {
		return address.String()
	}
	return netip.PrefixFrom(address, ipv6Prefix).Masked().String()
}

// key returns the key for the address of a connection (none for a Unix socket), the lines of X-Forwarded-For and the
// lines of the header.
func (c caller) key(peer string, forwarded, header []string) string {
	if len(header) == 1 {
		value := strings.Trim(header[0], " \t")
		if value != "" && !strings.Contains(value, ",") && len(value) <= 4096 {
			// Hashed: no credential is stored.
			return fmt.Sprintf("%skey:%x", c.prefix, sha256.Sum256([]byte(value)))[:len(c.prefix)+4+32]
		}
	}
	// The first address, from the connection on, that is no trusted proxy. An entry that is no address is not
	// believed, so the proxy that sent it is charged.
	address, known := parseAddress(peer)
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for n := len(hops) - 1; n >= max(0, len(hops)-32) && c.trusts(address, known, peer); n-- {
		before, ok := parseAddress(hops[n])
		if !ok {
			break
		}
		address, known = before, true
	}
	if !known {
		return c.prefix + "ip:unknown"
	}
	return c.prefix + "ip:" + canonical(address, c.ipv6Prefix)
}

func (c caller) trusts(address netip.Addr, known bool, peer string) bool {
	if !known {
		return c.unix && (peer == "" || peer == "@")
	}
	for _, network := range c.trusted {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// decision is a reply, or what is decided without the server.
type decision struct {
	allowed     bool
	remaining   int64
	wait, reset time.Duration
}

// fields returns RateLimit and, if denied, Retry-After, of draft-ietf-httpapi-ratelimit-headers-11.
func (d decision) fields() (state, retry string) {
	after := d.reset
	if !d.allowed && d.wait >= 0 {
		after = d.wait
	}
	seconds := strconv.FormatFloat(math.Ceil(after.Seconds()), 'f', -1, 64)
	if !d.allowed && d.wait >= 0 {
		retry = seconds
	}
	return fmt.Sprintf(`"default";r=%d;t=%s`, d.remaining, seconds), retry
}

// policy is RateLimit-Policy: the burst, and the seconds in which it fills.
var policy = fmt.Sprintf(`"default";q=%d;w=%d`, burst, int(math.Ceil(burst/perSecond-1e-9)))

type limiter struct {
	rdb    *redis.Client
	places chan struct{}

	mu     sync.Mutex
	denied map[string]denial
	local  map[string]bucket
	logged map[string]time.Time
}

type denial struct {
	decision
	sent, until time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rdb *redis.Client) *limiter {
	return &limiter{
		rdb: rdb, places: make(chan struct{}, inFlight),
		denied: map[string]denial{}, local: map[string]bucket{}, logged: map[string]time.Time{},
	}
}

// take takes a token. If the server does not answer, a bucket in this process decides. An error is a mistake: a
// missing module, a missing permission, a key of another type.
func (l *limiter) take(key string) (decision, error) {
	if d, ok := l.remembered(key); ok {
		return d, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	d, err := l.ask(ctx, key)
	if err == nil {
		return d, nil
	}
	if !isOutage(err) {
		l.log("rate limiter: the server refuses the call: ", err)
		return d, err
	}
	l.log("rate limiter: no answer: ", err)
	return l.takeLocal(key, time.Now()), nil
}

func (l *limiter) ask(ctx context.Context, key string) (decision, error) {
	select {
	case l.places <- struct{}{}:
		defer func() { <-l.places }()
	case <-ctx.Done():
		return decision{}, fmt.Errorf("no turn among %d calls: %w", inFlight, ctx.Err())
	}
	// Another call may have been denied meanwhile.
	if d, ok := l.remembered(key); ok {
		return d, nil
	}
	sent := time.Now()
	reply, err := l.rdb.Do(ctx, "RL.TAKE", key, rate, burst).Int64Slice()
	if err != nil {
		return decision{}, err
	}
	d := decide(reply)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.denied, key)
	if !d.allowed {
		wait := memory
		if d.wait >= 0 {
			wait = min(memory, d.wait)
		}
		// From before the call, so that nobody is denied beyond the true end.
		l.denied[key] = denial{d, sent, sent.Add(wait)}
		bound(l.denied)
	}
	return d, nil
}

// decide returns the decision of the five integers of a reply.
func decide(reply []int64) decision {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return decision{reply[0] > 0, reply[2], ms(reply[3]), ms(reply[4])}
}

// remembered returns the denial that still holds.
func (l *limiter) remembered(key string) (decision, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.denied[key]
	now := time.Now()
	if !ok || !now.Before(d.until) {
		return decision{}, false
	}
	passed := now.Sub(d.sent)
	if d.wait >= 0 {
		d.wait -= passed
	}
	d.reset = max(0, d.reset-passed)
	return d.decision, true
}

// takeLocal takes from the bucket in this process, which is full at first.
func (l *limiter) takeLocal(key string, now time.Time) decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	most, gain := max(1, burst*share), perSecond*share
	b, ok := l.local[key]
	if !ok {
		b = bucket{most, now}
	}
	tokens := min(most, b.tokens+now.Sub(b.at).Seconds()*gain)
	seconds := func(tokens float64) time.Duration { return time.Duration(tokens / gain * float64(time.Second)) }
	d := decision{allowed: tokens+1e-9 >= 1, wait: seconds(1 - tokens)}
	if d.allowed {
		tokens, d.wait = tokens-1, 0
	}
	d.remaining, d.reset = int64(tokens+1e-9), seconds(most-tokens)
	l.local[key] = bucket{tokens, now}
	bound(l.local)
	return d
}

// bound forgets an entry if there are too many.
func bound[V any](entries map[string]V) {
	for key := range entries {
		if len(entries) <= mostKeys {
			return
		}
		delete(entries, key)
	}
}

// isOutage returns whether the error may pass by itself.
func isOutage(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return true
	}
	code, _, _ := strings.Cut(reply.Error(), " ")
	switch code {
	case "LOADING", "BUSY", "MASTERDOWN", "READONLY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "OOM", "UNBLOCKED", "MOVED", "ASK":
		return true
	}
	return false
}

// log prints one line a second of each kind.
func (l *limiter) log(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.logged[what]) >= time.Second {
		l.logged[what] = now
		log.Print(what, err)
	}
}

// limit charges each request. Put it inside the handler for CORS, or a 429 lacks the fields of CORS. A health check that is
// to be free belongs outside.
func (l *limiter) limit(who caller, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if r.Method == http.MethodOptions && origin != "" && r.Header.Get("Access-Control-Request-Method") != "" {
			next.ServeHTTP(w, r) // A preflight is never charged.
			return
		}
		d, err := l.take(who.key(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), r.Header.Values(who.header)))
		if err != nil {
			http.Error(w, "Rate limiter misconfigured", http.StatusInternalServerError)
			return
		}
		state, retry := d.fields()
		w.Header().Set("RateLimit-Policy", policy)
		w.Header().Set("RateLimit", state)
		if origin != "" {
			w.Header().Add("Access-Control-Expose-Headers", "RateLimit, RateLimit-Policy, Retry-After")
		}
		if d.allowed {
			next.ServeHTTP(w, r)
			return
		}
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		http.Error(w, "Too many requests", http.StatusTooManyRequests)
	})
}

func main() {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	options.ContextTimeoutEnabled = true // Without it a call outlives its context.
	options.MaxRetries = -1              // A take whose reply was lost would be charged twice.
	options.PoolSize = inFlight
	limits := newLimiter(redis.NewClient(options))
	if _, err := limits.take("limit:check"); err != nil {
		log.Fatal(err) // The module or a permission is missing.
	}
	who := caller{header: "X-Api-Key", ipv6Prefix: 64, prefix: "limit:"}
	hello := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello\n") }
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), limits.limit(who, http.HandlerFunc(hello))))
}
