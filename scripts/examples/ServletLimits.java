// Rate limits for servlets, by RL.TAKE, with the rules of the packages in ../clients. In Spring: a
// FilterRegistrationBean of this filter.
// Needs tomcat-embed-core 10.1 (or another container of jakarta.servlet), jedis 8, Java 17.
import jakarta.servlet.*;
import jakarta.servlet.http.*;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.catalina.startup.Tomcat;
import redis.clients.jedis.*;
import redis.clients.jedis.exceptions.JedisDataException;

public class ServletLimits extends HttpFilter {
  static final String RATE = "100/m";
  static final double PER_SECOND = 100.0 / 60;
  static final int BURST = 20;
  static final int TIMEOUT_MS = 50; // For each step: a turn, a connection from the pool, a new one, a reply.
  static final int IN_FLIGHT = 64; // Calls that wait for the server at once.
  static final double SHARE = 1; // Of the limit, while the server does not answer: with four processes, 0.25.
  static final long MEMORY_MS = 1000; // A denial is remembered no longer, so that a raised limit or a refund is seen.
  static final int MOST_KEYS = 10_000;
  /** RateLimit-Policy: the burst, and the seconds in which it fills. */
  static final String POLICY = "\"default\";q=" + BURST + ";w=" + (int) Math.ceil(BURST / PER_SECOND - 1e-9);
  static final Set<String> OUTAGES = Set.of("LOADING", "BUSY", "MASTERDOWN", "READONLY", "MISCONF", "NOREPLICAS",
      "CLUSTERDOWN", "TRYAGAIN", "OOM", "UNBLOCKED", "MOVED", "ASK");

  /**
   * Names who is charged: the header, if the request has exactly one, otherwise the address. Put the filter behind
   * authentication: a header that nobody checked is a new bucket for the asking. X-Forwarded-For is believed
   * from `trusted`: 10.0.0.0/8, 2001:db8::1.
   */
  record Caller(String header, List<String> trusted, int ipv6Prefix, String prefix) {
    String key(String peer, List<String> forwarded, List<String> header) {
      if (header.size() == 1) {
        var value = trim(header.get(0));
        if (!value.isEmpty() && !value.contains(",") && value.length() <= 4096) return prefix + "key:" + hash(value);
      }
      // The first address, from the connection on, that is no trusted proxy. An entry that is no address is not
      // believed, so the proxy that sent it is charged.
      var address = parse(peer);
      var hops = String.join(",", forwarded).split(",", -1);
      for (int n = hops.length - 1; n >= Math.max(0, hops.length - 32) && trusts(address, peer); n--) {
        var before = parse(hops[n]);
        if (before == null) break;
        address = before;
      }
      return prefix + "ip:" + (address == null ? "unknown" : canonical(address, ipv6Prefix));
    }

    private boolean trusts(int[] address, String peer) {
      if (address == null) return peer == null && trusted.contains("unix");
      return trusted.stream().filter(text -> !text.equals("unix")).anyMatch(text -> {
        var parts = text.split("/");
        var network = parse(parts[0]);
        int bits = parts.length > 1 ? Integer.parseInt(parts[1]) : 128;
        return network.length == address.length && Arrays.equals(cut(network, bits), cut(address, bits));
      });
    }
  }

  /** Hashed: no credential is stored. Tomcat reads the bytes of a header as Latin-1. */
  static String hash(String value) {
    try {
      var sha = MessageDigest.getInstance("SHA-256").digest(value.getBytes(StandardCharsets.ISO_8859_1));
      return HexFormat.of().formatHex(sha, 0, 16);
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException(error); // Every Java has it.
    }
  }

  static final Pattern BRACKETS = Pattern.compile("\\[([^\\]]*:[^\\]]*)\\](?::[0-9]{1,5})?");
  static final Pattern PORT = Pattern.compile("([^:]*):[0-9]{1,5}");
  static final Pattern IPV4 = Pattern.compile("(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\\.(?!$)|$)){4}");
  static final Pattern GROUP = Pattern.compile("[0-9a-fA-F]{1,4}");

  static String trim(String text) {
    return text.replaceAll("^[ \t]+|[ \t]+$", "");
  }

  /** Returns 4 bytes or 8 groups, without port, brackets, zone and IPv4 mapping; null if it is no address. */
  static int[] parse(String text) {
    if (text == null) return null;
    text = trim(text);
    boolean isBracketed = text.startsWith("[");
    if (isBracketed || text.chars().filter(c -> c == ':').count() == 1) {
      var match = (isBracketed ? BRACKETS : PORT).matcher(text);
      if (!match.matches()) return null;
      text = match.group(1);
    }
    if (IPV4.matcher(text).matches()) return numbers(text.split("\\."), 10);
    if (!text.contains(":")) return null;
    int zone = text.indexOf('%');
    if (zone >= 0) text = text.substring(0, zone);
    // The end may be written as IPv4.
    int last = text.lastIndexOf(':') + 1;
    if (text.substring(last).contains(".")) {
      if (!IPV4.matcher(text.substring(last)).matches()) return null;
      var four = numbers(text.substring(last).split("\\."), 10);
      text = text.substring(0, last) + Integer.toHexString(four[0] << 8 | four[1]) + ":"
          + Integer.toHexString(four[2] << 8 | four[3]);
    }
    int gap = text.indexOf("::");
    var left = groups(gap < 0 ? text : text.substring(0, gap));
    var right = groups(gap < 0 ? "" : text.substring(gap + 2));
    if (left == null || right == null) return null;
    int zeros = 8 - left.length - right.length;
    if (gap < 0 ? zeros != 0 : zeros < 1) return null;
    var all = Arrays.copyOf(left, 8);
    System.arraycopy(right, 0, all, 8 - right.length, right.length);
    boolean isMapped = Arrays.equals(all, 0, 6, new int[] {0, 0, 0, 0, 0, 0xffff}, 0, 6);
    return isMapped ? new int[] {all[6] >> 8, all[6] & 255, all[7] >> 8, all[7] & 255} : all;
  }

  private static int[] groups(String text) {
    if (text.isEmpty()) return new int[0];
    var parts = text.split(":", -1);
    return Arrays.stream(parts).allMatch(part -> GROUP.matcher(part).matches()) ? numbers(parts, 16) : null;
  }

  private static int[] numbers(String[] parts, int radix) {
    return Arrays.stream(parts).mapToInt(part -> Integer.parseInt(part, radix)).toArray();
  }

  private static int[] cut(int[] address, int prefix) {
    int size = address.length == 4 ? 8 : 16;
    var kept = new int[address.length];
    for (int n = 0; n < kept.length; n++) {
      int bits = Math.min(size, Math.max(0, prefix - n * size));
      kept[n] = address[n] & ((1 << bits) - 1) << size - bits;
    }
    return kept;
  }

  /** Returns the text of an address in a key: IPv4 as it is, IPv6 as its network, after RFC 5952. */
  static String canonical(int[] address, int ipv6Prefix) {
    var text = new StringJoiner(address.length == 4 ? "." : ":");
    if (address.length == 4) {
      for (int part : address) text.add(Integer.toString(part));
      return text.toString();
    }
    var groups = cut(address, ipv6Prefix);
    int start = -1, length = 1;
    for (int n = 0; n < 8; n++) {
      int end = n;
      while (end < 8 && groups[end] == 0) end++;
      if (end - n > length) {
        start = n;
        length = end - n;
      }
    }
    for (int n = 0; n < 8; n++) {
      if (n != start) {
        text.add(Integer.toHexString(groups[n]));
        continue;
      }
      boolean isAtEdge = n == 0 || n + length == 8;
      text.add(length == 8 ? "::" : isAtEdge ? ":" : "");
      n += length - 1;
    }
    return text + "/" + ipv6Prefix;
  }

  /** A reply, or what is decided without the server. `waitMs` is -1 if waiting does not help. */
  record Decision(boolean allowed, long remaining, long waitMs, long resetMs) {
    static Decision of(List<?> reply) {
      return new Decision(number(reply, 0) > 0, number(reply, 2), number(reply, 3), number(reply, 4));
    }

    private static long number(List<?> reply, int n) {
      return (Long) reply.get(n);
    }

    boolean hasWait() {
      return !allowed && waitMs >= 0;
    }

    long seconds() {
      return ((hasWait() ? waitMs : resetMs) + 999) / 1000; // Rounded up.
    }

    /** Returns RateLimit, of draft-ietf-httpapi-ratelimit-headers-11. */
    String state() {
      return "\"default\";r=" + remaining + ";t=" + seconds();
    }
  }

  private record Denial(Decision decision, long sent, long until) {}

  private record Bucket(double tokens, long at) {}

  private static <T> Map<String, T> recent() {
    return Collections.synchronizedMap(new LinkedHashMap<>() {
      @Override
      protected boolean removeEldestEntry(Map.Entry<String, T> eldest) {
        return size() > MOST_KEYS;
      }
    });
  }

  private final Map<String, Denial> denied = recent();
  private final Map<String, Bucket> local = recent();
  private final Map<String, Long> logged = recent();
  private final Semaphore places = new Semaphore(IN_FLIGHT);
  private final RedisClient redis;
  private final Caller caller;

  ServletLimits(URI uri, Caller caller) {
    this.caller = caller;
    var pool = new ConnectionPoolConfig();
    pool.setMaxTotal(IN_FLIGHT);
    pool.setMaxWait(Duration.ofMillis(TIMEOUT_MS)); // Without it a call waits for one for ever.
    // User and password would be set here too.
    var config = DefaultJedisClientConfig.builder().timeoutMillis(TIMEOUT_MS).build();
    redis = RedisClient.builder().hostAndPort(uri.getHost(), uri.getPort())
        .clientConfig(config).poolConfig(pool).build();
    take("limit:check"); // Throws if the module or a permission is missing.
  }

  private static long now() {
    return System.nanoTime() / 1_000_000;
  }

  /** Takes a token. If the server does not answer, a bucket in this process decides. A mistake is thrown. */
  Decision take(String key) {
    var decision = remembered(key);
    if (decision != null) return decision;
    try {
      return ask(key);
    } catch (RuntimeException error) {
      if (isOutage(error)) {
        log("no answer: ", error);
        return takeLocal(key, now());
      }
      log("the server refuses the call: ", error);
      throw error;
    }
  }

  private Decision ask(String key) {
    try {
      if (!places.tryAcquire(TIMEOUT_MS, TimeUnit.MILLISECONDS)) {
        throw new IllegalStateException("no turn among " + IN_FLIGHT + " calls");
      }
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(error);
    }
    try {
      var meanwhile = remembered(key);
      if (meanwhile != null) return meanwhile;
      long sent = now();
      var reply = (List<?>) redis.sendCommand(() -> "RL.TAKE".getBytes(), key, RATE, String.valueOf(BURST));
      var decision = Decision.of(reply);
      denied.remove(key);
      if (!decision.allowed) {
        long wait = decision.hasWait() ? Math.min(MEMORY_MS, decision.waitMs) : MEMORY_MS;
        // From before the call, so that nobody is denied beyond the true end.
        denied.put(key, new Denial(decision, sent, sent + wait));
      }
      return decision;
    } finally {
      places.release();
    }
  }

  /** Returns the denial that still holds, or null. */
  private Decision remembered(String key) {
    var denial = denied.get(key);
    long now = now();
    if (denial == null || now >= denial.until) return null;
    var decision = denial.decision;
    long passed = now - denial.sent, wait = decision.hasWait() ? decision.waitMs - passed : -1;
    return new Decision(false, decision.remaining, wait, Math.max(0, decision.resetMs - passed));
  }

  /** Takes from the bucket in this process, which is full at first. */
  Decision takeLocal(String key, long now) {
    double most = Math.max(1, BURST * SHARE), perMs = PER_SECOND * SHARE / 1000;
    synchronized (local) {
      var stored = local.getOrDefault(key, new Bucket(most, now));
      double tokens = Math.min(most, stored.tokens + (now - stored.at) * perMs);
      boolean allowed = tokens + 1e-9 >= 1;
      long wait = allowed ? 0 : (long) Math.ceil((1 - tokens) / perMs);
      if (allowed) tokens--;
      local.put(key, new Bucket(tokens, now));
      return new Decision(allowed, (long) (tokens + 1e-9), wait, (long) Math.ceil((most - tokens) / perMs));
    }
  }

  /** Returns whether the error may pass by itself. Anything else is a mistake. */
  static boolean isOutage(RuntimeException error) {
    if (!(error instanceof JedisDataException)) return true;
    return OUTAGES.contains(String.valueOf(error.getMessage()).split(" ", 2)[0]);
  }

  private void log(String what, RuntimeException error) {
    long now = now();
    var last = logged.get(what);
    if (last != null && now - last < 1000) return; // A line a second is enough.
    logged.put(what, now);
    System.err.println("rate limiter: " + what + error);
  }

  /** Place it inside the filter for CORS, or a 429 lacks the fields of CORS. */
  @Override
  protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    var origin = request.getHeader("Origin");
    boolean isPreflight = request.getMethod().equals("OPTIONS") && origin != null
        && request.getHeader("Access-Control-Request-Method") != null;
    if (isPreflight) {
      chain.doFilter(request, response); // Never charged.
      return;
    }
    Decision decision;
    try {
      var forwarded = Collections.list(request.getHeaders("X-Forwarded-For"));
      var header = Collections.list(request.getHeaders(caller.header));
      decision = take(caller.key(request.getRemoteAddr(), forwarded, header));
    } catch (RuntimeException error) { // It is logged.
      response.setStatus(500);
      response.getWriter().print("Rate limiter misconfigured\n");
      return;
    }
    response.setHeader("RateLimit-Policy", POLICY);
    response.setHeader("RateLimit", decision.state());
    if (origin != null) {
      response.addHeader("Access-Control-Expose-Headers", "RateLimit, RateLimit-Policy, Retry-After");
    }
    if (decision.allowed) {
      chain.doFilter(request, response);
      return;
    }
    response.setStatus(429);
    if (decision.hasWait()) response.setHeader("Retry-After", Long.toString(decision.seconds()));
    response.getWriter().print("Too many requests\n");
  }

  public static void main(String[] args) throws Exception {
    var caller = new Caller("X-Api-Key", List.of(), 64, "limit:");
    var limits = new ServletLimits(URI.create(System.getenv("REDIS_URL")), caller);
    var tomcat = new Tomcat();
    tomcat.setPort(Integer.parseInt(System.getenv("PORT")));
    tomcat.getConnector();
    var context = tomcat.addContext("", null);
    context.addServletContainerInitializer((classes, servlets) -> {
      servlets.addFilter("limits", limits).addMappingForUrlPatterns(null, false, "/*");
      servlets.addServlet("hello", new HttpServlet() {
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
          response.getWriter().print("Hello\n");
        }
      }).addMapping("/");
    }, null);
    tomcat.start();
    tomcat.getServer().await();
  }
}
