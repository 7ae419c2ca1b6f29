#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test/watcher/kubernetes/fake_api_server.h"
#include "test/watcher/kubernetes/followed.h"
#include "test/watcher/kubernetes/objects.h"
#include "watcher/kubernetes/json_splitter.h"

namespace fairlead::kubernetes {
namespace {

using Texts = std::vector<std::string>;

constexpr char kChunkedHead[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const Texts kPicture = {"Service shop/a 10.96.0.1"};

TEST_CASE("a list that fails is tried again until it comes") {
  struct Case {
    const char* name;
    FakeAnswer answer;
    std::string error;
  };
  const Case cases[] = {
      {"an error", Status(500, StatusJson(500, "etcd is away")), "HTTP 500 (etcd is away)"},
      {"a proxy's page", Status(502, "<html>Bad Gateway</html>"),
       "HTTP 502 (<html>Bad Gateway</html>)"},
      {"forbidden", Status(403, StatusJson(403, "services is forbidden")),
       "HTTP 403 (services is forbidden), with no credentials"},
      {"a redirection", Status(302, "", "Location: http://127.0.0.1:1/\r\n"), "HTTP 302"},
      {"410 Gone for a first page", Status(410, StatusJson(410, "too old")), "HTTP 410 (too old)"},
      {"HTML", Status(200, "<html>Welcome</html>"),
       "not JSON as it should be: \"<html>Welcome</html>\""},
      {"nothing", Status(200, ""), "it ends in the middle of a page"},
      {"a list of something else", Page("PodList", "7", {}),
       "a \"PodList\" instead of a ServiceList"},
      {"bad JSON", Status(200, R"({"kind":"ServiceList","items":[{"a"}]})"),
       "an item is not valid JSON at byte 5"},
      {"half a page", Bytes("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"kind\":"),
       "transfer closed with 992 bytes remaining to read"},
      {"no answer", Bytes(""), "Empty reply from server"},
      {"no HTTP", Bytes("SSH-2.0-OpenSSH_9.2\r\n"), "Received HTTP/0.9 when not allowed"},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    FakeApiServer api;
    // The second time it was tried again by nobody but us.
    api.Script("services", {c.answer, c.answer, Services("7", {ServiceJson("a", 1)})});
    Followed followed(api);
    CHECK(followed.AwaitContents(kPicture));
    const KubernetesResourceStatus status = followed.StatusOf("services");
    CHECK(status.errors == 2);
    CHECK(status.last_error == absl::StrCat(api.url(), "/api/v1/services: ", c.error));
  }
}

TEST_CASE("a page that fails is asked for again, the list is not") {
  const FakeAnswer answers[] = {
      Status(500, ""), Status(503, ""), Status(429, ""), Bytes(""),
      Bytes("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"items\":[" + ServiceJson("b", 2))};
  for (const FakeAnswer& answer : answers) {
    FakeApiServer api;
    api.Script("services", {Services("7", {ServiceJson("a", 1)}, "c1"), answer, Services("7", {})});
    Followed followed(api);
    CHECK(followed.AwaitRequests("services", {"list", "list c1", "list c1", "watch 7"}));
  }
}

TEST_CASE("410 Gone in the middle of a list begins it anew") {
  FakeApiServer api;
  api.Script("services", {Services("7", {ServiceJson("gone", 9)}, "c1"),
                          Status(410, StatusJson(410, "the token is too old")),
                          Services("9", {ServiceJson("a", 1)})});
  Followed followed(api);
  CHECK(followed.AwaitContents(kPicture));
  CHECK(followed.AwaitRequests("services", {"list", "list c1", "list", "watch 9"}));
}

TEST_CASE("410 Gone for a watch lists anew, and only differences are changes") {
  const FakeAnswer answers[] = {Status(410, StatusJson(410, "too old")),
                                Watch({Error(410, "too old resource version")})};
  for (const FakeAnswer& answer : answers) {
    FakeApiServer api;
    api.Script(
        "services",
        {Services("7", {ServiceJson("a", 1), ServiceJson("b", 2), ServiceJson("c", 3)}), answer,
         Services("20", {ServiceJson("a", 1, "18"), ServiceJson("b", 22, "19"),
                         ServiceJson("d", 4, "20")})});
    Followed followed(api);
    CHECK(followed.AwaitRequests("services", {"list", "watch 7", "list", "watch 20"}));
    CHECK(Contents(followed.journal()) == Texts{"Service shop/a 10.96.0.1",
                                                "Service shop/b 10.96.0.22",
                                                "Service shop/d 10.96.0.4"});
    // Three of the first list, then one removal, one change and one addition.
    CHECK(followed.journal().head_revision() == 6);
  }
}

TEST_CASE("a watch that fails goes on from where it was, and the journal keeps what it has") {
  struct Case {
    const char* name;
    FakeAnswer answer;
  };
  const std::string event = Added(ServiceJson("b", 2, "9"));
  const Case cases[] = {
      {"an error", Status(500, "")},
      {"the API server starts", Status(503, StatusJson(503, "starting"))},
      {"too many requests", Status(429, "")},
      {"cut before an event", Watch({}, WatchEnd::kCut)},
      {"cut in the middle of an event",
       Bytes(absl::StrCat(kChunkedHead, "14\r\n", event.substr(0, 20), "\r\n"))},
      {"ended in the middle of an event", WatchBytes(event.substr(0, 20), 20, WatchEnd::kClean)},
      {"ended at once", Watch({}, WatchEnd::kClean)},
      {"HTML", Status(200, "<html>")},
      {"bad JSON", Watch({"{\"type\":\"ADDED\",}"}, WatchEnd::kClean)},
      {"an event of another kind", Watch({Bookmark("Pod", "99")})},
      {"an error event", Watch({Error(500, "no")})},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    FakeApiServer api;
    api.Script("services", {Services("7", {ServiceJson("a", 1)}), c.answer,
                            Watch({Modified(ServiceJson("a", 3, "9"))})});
    Followed followed(api);
    CHECK(followed.AwaitContents({"Service shop/a 10.96.0.3"}));
    CHECK(api.Requests("services") == Texts{"list", "watch 7", "watch 7"});
    CHECK(followed.journal().head_revision() == 2);
    CHECK(followed.StatusOf("services").errors == 1);
  }
}

TEST_CASE("a connection that was closed between two requests is no error") {
  FakeApiServer api;
  api.Script("services", {Services("7", {}), Bytes(""), Watch({Added(ServiceJson("a", 1, "9"))})});
  Followed followed(api);
  CHECK(followed.AwaitContents(kPicture));
  CHECK(api.Requests("services") == Texts{"list", "watch 7", "watch 7"});
  CHECK(followed.StatusOf("services").errors == 0);
}

TEST_CASE("a watch that is cut after an event goes on after it") {
  FakeApiServer api;
  api.Script("services",
             {Services("7", {}), Watch({Added(ServiceJson("a", 1, "9"))}, WatchEnd::kCut)});
  Followed followed(api);
  CHECK(followed.AwaitRequests("services", {"list", "watch 7", "watch 9"}));
  CHECK(Contents(followed.journal()) == kPicture);
}

TEST_CASE("a watch of which nothing sensible ever comes is given up for a list") {
  FakeApiServer api;
  const FakeAnswer garbage = Watch({"{}"});
  api.Script("services", {Services("7", {ServiceJson("a", 1)}), garbage, garbage, garbage,
                          Services("3", {ServiceJson("a", 1)})});
  Followed followed(api);
  CHECK(followed.AwaitRequests("services",
                               {"list", "watch 7", "watch 7", "watch 7", "list", "watch 3"}));
  CHECK(followed.journal().head_revision() == 1);
}

TEST_CASE("an answer that does not begin is given up") {
  KubernetesSourceOptions options = QuickOptions();
  options.silence_timeout = absl::Milliseconds(300);
  FakeApiServer api;
  api.Script("services", {Silence(), Services("7", {ServiceJson("a", 1)}), Silence(), Watch({})});
  Followed followed(api, options);
  CHECK(followed.AwaitRequests("services", {"list", "list", "watch 7", "watch 7"}));
  CHECK(Contents(followed.journal()) == kPicture);
  CHECK(followed.StatusOf("services").errors == 2);
  CHECK(followed.StatusOf("services").last_error ==
        absl::StrCat(api.url(), "/api/v1/services: nothing came for 300ms"));
}

TEST_CASE("a watch on which nothing happens is made anew, which is no error") {
  KubernetesSourceOptions options = QuickOptions();
  options.silence_timeout = absl::Milliseconds(300);
  FakeApiServer api;
  api.Script("services", {Services("7", {ServiceJson("a", 1)}), Watch({Bookmark("Service", "9")})});
  Followed followed(api, options);
  CHECK(followed.AwaitRequests("services", {"list", "watch 7", "watch 9", "watch 9"}));
  CHECK(Contents(followed.journal()) == kPicture);
  CHECK(followed.StatusOf("services").errors == 0);
}

TEST_CASE("a page that comes too slowly is given up") {
  KubernetesSourceOptions options = QuickOptions();
  options.list_timeout = absl::Milliseconds(500);
  FakeApiServer api;
  api.Script("services", {[](const FakeRequest&, FakeConnection& connection) {
                            connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{");
                            connection.AwaitEnd();
                            return false;
                          },
                          Services("7", {ServiceJson("a", 1)})});
  Followed followed(api, options);
  CHECK(followed.AwaitContents(kPicture));
  CHECK_THAT(followed.StatusOf("services").last_error,
             Catch::EndsWith(": the answer took too long"));
}

TEST_CASE("an event of more than any object's size ends the watch") {
  FakeApiServer api;
  const std::string large =
      absl::StrCat(R"({"type":"ADDED","object":{"a":")", std::string(kMaxObjectBytes, 'x'));
  api.Script("services", {Services("7", {ServiceJson("a", 1)}), WatchBytes(large, 1 << 20)});
  Followed followed(api);
  CHECK(followed.AwaitRequests("services", {"list", "watch 7", "watch 7"}));
  CHECK_THAT(followed.StatusOf("services").last_error,
             Catch::EndsWith(": an event is larger than any object can be"));
  CHECK(Contents(followed.journal()) == kPicture);
}

TEST_CASE("the API server is left alone for as long as it asks for") {
  FakeApiServer api;
  api.Script("services", {Status(429, StatusJson(429, "too many"), "Retry-After: 1\r\n"),
                          Services("7", {ServiceJson("a", 1)})});
  const absl::Time start = absl::Now();
  Followed followed(api);
  CHECK(followed.AwaitContents(kPicture));
  CHECK(absl::Now() - start >= absl::Seconds(1));
  CHECK_THAT(followed.StatusOf("services").last_error, Catch::EndsWith(": HTTP 429 (too many)"));
}

TEST_CASE("nobody at the other end is an error that names the address") {
  std::string url;
  { url = FakeApiServer().url(); }
  FakeApiServer other;
  Followed followed(other, ApiServer{.url = url});
  CHECK(followed.Await([&] { return followed.StatusOf("services").errors >= 3; }));
  const std::string error = followed.StatusOf("services").last_error;
  CHECK_THAT(error,
             Catch::StartsWith(absl::StrCat(url, "/api/v1/services: Failed to connect to ")));
  CHECK_FALSE(followed.journal().complete());
}

}  // namespace
}  // namespace fairlead::kubernetes
