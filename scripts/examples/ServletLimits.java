// Rate limits for servlets, by RL.TAKE. In Spring: a FilterRegistrationBean of this filter.
// Needs tomcat-embed-core 10.1 (or another container of jakarta.servlet), jedis 8.
import jakarta.servlet.*;
import jakarta.servlet.http.*;
import java.io.IOException;
import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Pattern;
import org.apache.catalina.startup.Tomcat;
import redis.clients.jedis.*;

public class ServletLimits extends HttpFilter {
  static final String RATE = "100/m", BURST = "20";
  static final String POLICY = "\"default\";q=20;w=12"; // w: seconds in which an empty bucket fills.
  static final int TIMEOUT_MS = 50; // For each step: a connection from the pool, a new one, a reply.
  static final Pattern PLAIN = Pattern.compile("[A-Za-z0-9._~+/=-]{1,64}");
  private final AtomicLong warned = new AtomicLong();
  private final RedisClient redis;

  ServletLimits(URI uri) {
    var pool = new ConnectionPoolConfig(); // 8 connections by default.
    pool.setMaxWait(Duration.ofMillis(TIMEOUT_MS)); // Without it a call waits for one for ever.
    // User and password would be set here too.
    var config = DefaultJedisClientConfig.builder().timeoutMillis(TIMEOUT_MS).build();
    redis = RedisClient.builder().hostAndPort(uri.getHost(), uri.getPort())
        .clientConfig(config).poolConfig(pool).build();
  }

  /** Whom a request is charged to. Authenticate first: who makes keys up has a bucket for each. */
  static String keyOf(HttpServletRequest request) {
    var name = request.getHeader("X-Api-Key");
    if (name != null && PLAIN.matcher(name).matches()) return "limit:key:" + name;
    return "limit:ip:" + request.getRemoteAddr();
  }

  @Override
  protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    List<?> reply;
    try {
      reply = (List<?>) redis.sendCommand(() -> "RL.TAKE".getBytes(), keyOf(request), RATE, BURST);
    } catch (RuntimeException error) {
      long now = System.currentTimeMillis() / 1000; // A line a second is enough.
      if (warned.getAndSet(now) != now) System.err.println("rate limiter failed open: " + error);
      chain.doFilter(request, response);
      return;
    }
    boolean taken = (Long) reply.get(0) > 0;
    long seconds = ((Long) reply.get(taken ? 4 : 3) + 999) / 1000; // Rounded up.
    response.setHeader("RateLimit-Policy", POLICY);
    response.setHeader("RateLimit", "\"default\";r=" + reply.get(2) + ";t=" + seconds);
    if (taken) {
      chain.doFilter(request, response);
      return;
    }
    response.setStatus(429);
    response.setHeader("Retry-After", Long.toString(seconds));
    response.getWriter().print("Too many requests\n");
  }

  public static void main(String[] args) throws Exception {
    var limits = new ServletLimits(URI.create(System.getenv("REDIS_URL")));
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
