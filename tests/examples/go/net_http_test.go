// The table of test vectors that every language holds, and what is decided without the server.
package main

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

type request struct {
	Why        string
	Peer       *string
	Forwarded  []string
	Header     []string
	Trusted    []string
	Ipv6Prefix *int `json:"ipv6_prefix"`
	Prefix     *string
	Key        string
}

var vectors struct {
	Addresses [][2]*string
	Prefixes  [][3]any
	Keys      []request
	Fields    []struct {
		Reply         []int64
		Policy, State string
		Retry         *string
	}
}

func TestMain(m *testing.M) {
	text, err := os.ReadFile(os.Getenv("VECTORS"))
	if err == nil {
		err = json.Unmarshal(text, &vectors)
	}
	if err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestAddressHasOneText(t *testing.T) {
	for _, row := range vectors.Addresses {
		address, ok := parseAddress(*row[0])
		if ok != (row[1] != nil) || ok && canonical(address, 64) != *row[1] {
			t.Errorf("%q: %v", *row[0], address)
		}
	}
	for _, row := range vectors.Prefixes {
		address, _ := parseAddress(row[1].(string))
		if got := canonical(address, int(row[0].(float64))); got != row[2] {
			t.Errorf("%v: %s", row, got)
		}
	}
}

func TestRequestHasOneKey(t *testing.T) {
	for _, row := range vectors.Keys {
		who := caller{header: "X-Api-Key", ipv6Prefix: 64, prefix: "limit:"}
		for _, text := range row.Trusted {
			network, err := netip.ParsePrefix(text)
			if address, ok := parseAddress(text); ok {
				network, err = netip.PrefixFrom(address, address.BitLen()), nil
			}
			if who.unix = who.unix || text == "unix"; err == nil {
				who.trusted = append(who.trusted, network)
			}
		}
		if row.Ipv6Prefix != nil {
			who.ipv6Prefix = *row.Ipv6Prefix
		}
		if row.Prefix != nil {
			who.prefix = *row.Prefix
		}
		peer := ""
		if row.Peer != nil {
			peer = *row.Peer
		}
		for n, text := range row.Header {
			row.Header[n] = latin1(text)
		}
		if got := who.key(peer, row.Forwarded, row.Header); got != row.Key {
			t.Errorf("%s: %s", row.Why, got)
		}
	}
}

// latin1 returns the bytes of a header: characters to U+00FF.
func latin1(text string) string {
	var bytes strings.Builder
	for _, character := range text {
		bytes.WriteByte(byte(character))
	}
	return bytes.String()
}

func TestFieldsFollowTheReply(t *testing.T) {
	for _, row := range vectors.Fields {
		state, retry := decide(row.Reply).fields()
		if policy != row.Policy || state != row.State || (row.Retry != nil) != (retry != "") || row.Retry != nil && retry != *row.Retry {
			t.Errorf("%v: %s %s %s", row.Reply, policy, state, retry)
		}
	}
}

func TestBucketInTheProcessAdmitsBurstAndRate(t *testing.T) {
	l := newLimiter(nil)
	now := time.Now()
	passed := 0
	for n := 0; n < 30; n++ {
		if l.takeLocal("k", now).allowed {
			passed++
		}
	}
	if passed != burst || l.takeLocal("k", now.Add(599*time.Millisecond)).allowed || !l.takeLocal("k", now.Add(601*time.Millisecond)).allowed {
		t.Errorf("%d passed", passed)
	}
}

func TestStateOfTheServerIsAnOutageAndARefusalIsAMistake(t *testing.T) {
	for _, code := range strings.Fields("LOADING MISCONF NOREPLICAS OOM READONLY BUSY CLUSTERDOWN") {
		if !isOutage(replyError(code + " for a while")) {
			t.Error(code)
		}
	}
	for _, text := range []string{"ERR unknown command", "NOPERM no", "WRONGTYPE x", "NOAUTH who?"} {
		if isOutage(replyError(text)) {
			t.Error(text)
		}
	}
	if !isOutage(errors.New("connection refused")) {
		t.Error("a broken connection")
	}
}

type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}
