// The table of test vectors that every language holds, as lines of URL-encoded words: scripts/examples.sh writes them.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import redis.clients.jedis.exceptions.JedisDataException;

public class ServletLimitsTest {
  public static void main(String[] args) throws Exception {
    var lines = new BufferedReader(new InputStreamReader(System.in));
    int held = 0;
    for (String line; (line = lines.readLine()) != null; held++) {
      var words = Arrays.stream(line.split(" ")).map(ServletLimitsTest::word).toList();
      var got = switch (words.get(0)) {
        case "address" -> {
          var address = ServletLimits.parse(words.get(2));
          yield address == null ? null : ServletLimits.canonical(address, Integer.parseInt(words.get(1)));
        }
        case "key" -> {
          var caller = new ServletLimits.Caller(
              "X-Api-Key", list(words.get(1)), Integer.parseInt(words.get(2)), words.get(3));
          yield caller.key(words.get(4), list(words.get(5)), list(words.get(6)));
        }
        default -> {
          var reply = Arrays.stream(words.get(1).split(",")).map(Long::valueOf).toList();
          var decision = ServletLimits.Decision.of(reply);
          yield ServletLimits.POLICY + decision.state() + (decision.hasWait() ? decision.seconds() : "");
        }
      };
      expect(Objects.equals(got, words.get(words.size() - 1)), line + ": " + got);
    }
    expect(held > 100, held + " lines");
    for (var code : List.of("LOADING", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "BUSY", "CLUSTERDOWN")) {
      expect(ServletLimits.isOutage(new JedisDataException(code + " for a while")), code);
    }
    for (var text : List.of("ERR unknown command", "NOPERM no", "WRONGTYPE x", "NOAUTH who?")) {
      expect(!ServletLimits.isOutage(new JedisDataException(text)), text);
    }
    expect(ServletLimits.isOutage(new IllegalStateException("broken")), "a broken connection");
    System.out.println(held + " vectors");
  }

  /** Returns a decoded word: - is null. */
  private static String word(String word) {
    return word.equals("-") ? null : URLDecoder.decode(word.substring(1), StandardCharsets.UTF_8);
  }

  /** Returns the items of a list, each of which ends with a line feed. */
  private static List<String> list(String items) {
    return items.isEmpty() ? List.of() : Arrays.asList(items.split("\n", -1)).subList(0, items.split("\n", -1).length - 1);
  }

  private static void expect(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }
}
