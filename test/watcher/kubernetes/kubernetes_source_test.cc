#include "watcher/kubernetes/kubernetes_source.h"

#include <catch2/catch.hpp>

#include "test/watcher/kubernetes/fake_api_server.h"
#include "test/watcher/kubernetes/followed.h"
#include "test/watcher/kubernetes/objects.h"

namespace fairlead::kubernetes {
namespace {

using Texts = std::vector<std::string>;

TEST_CASE("lists and watches fill the journal, which is complete after the last list") {
  FakeApiServer api;
  api.Script("services", {Services("7", {ServiceJson("cart", 1)}),
                          Watch({Added(ServiceJson("till", 2, "8"))})});
  api.Script("endpointslices", {Page("EndpointSliceList", "7", {SliceJson("cart-1", 1)})});
  api.Script("nodes", {Page("NodeList", "7", {NodeJson("n1", 1)})});
  Followed followed(api);
  CHECK(followed.AwaitContents({"EndpointSlice shop/cart-1 10.1.0.1", "Node n1 192.0.2.1",
                                "Service shop/cart 10.96.0.1", "Service shop/till 10.96.0.2"}));
  CHECK(followed.Await([&] { return followed.journal().complete(); }));
  const KubernetesResourceStatus status = followed.StatusOf("services");
  CHECK(status.listed);
  CHECK(status.watching);
  CHECK(status.lists == 1);
  CHECK(status.watches == 1);
  CHECK(status.events == 1);
  CHECK(status.errors == 0);
  CHECK(status.last_error.empty());
  CHECK(status.last_event != absl::InfinitePast());
}

TEST_CASE("the journal is not complete before every resource was listed") {
  FakeApiServer api;
  api.Script("nodes", {Silence()});
  Followed followed(api);
  CHECK(followed.AwaitRequests("services", {"list", "watch 1"}));
  CHECK(followed.AwaitRequests("endpointslices", {"list", "watch 1"}));
  CHECK(followed.AwaitRequests("nodes", {"list"}));
  CHECK_FALSE(followed.journal().complete());
}

TEST_CASE("a list of several pages is one change of the journal") {
  FakeApiServer api;
  api.Script("services",
             {Services("7", {ServiceJson("a", 1)}, "c1"),
              Services("7", {ServiceJson("b", 2)}, "c2"), Services("7", {ServiceJson("c", 3)})});
  Followed followed(api);
  CHECK(followed.AwaitContents(
      {"Service shop/a 10.96.0.1", "Service shop/b 10.96.0.2", "Service shop/c 10.96.0.3"}));
  CHECK(followed.AwaitRequests("services", {"list", "list c1", "list c2", "watch 7"}));
  CHECK(Changes(followed.journal()) == Texts{"1 Service shop/a 10.96.0.1",
                                             "2 Service shop/b 10.96.0.2",
                                             "3 Service shop/c 10.96.0.3"});
}

TEST_CASE("a watch that ends goes on from the last event or bookmark") {
  FakeApiServer api;
  api.Script("services",
             {Services("7", {}), Watch({Added(ServiceJson("a", 1, "9"))}, WatchEnd::kClean),
              Watch({Bookmark("Service", "15")}, WatchEnd::kClean),
              Watch({Deleted(ServiceJson("a", 1, "20"))})});
  Followed followed(api);
  CHECK(followed.AwaitRequests("services", {"list", "watch 7", "watch 9", "watch 15"}));
  CHECK(followed.Await([&] { return followed.journal().head_revision() == 2; }));
  CHECK(Contents(followed.journal()).empty());
  CHECK(followed.StatusOf("services").errors == 0);
}

TEST_CASE("events come out the same wherever the stream is cut into chunks") {
  for (const size_t piece : {1, 3, 100, 10000}) {
    INFO(piece);
    FakeApiServer api;
    const std::string bytes = Added(ServiceJson("a", 1, "8")) + "\n" +
                              Added(ServiceJson("b", 2, "9")) + "\n" +
                              Deleted(ServiceJson("a", 1, "10")) + "\n";
    api.Script("services", {Services("7", {}), WatchBytes(bytes, piece)});
    Followed followed(api);
    CHECK(followed.Await([&] { return followed.journal().head_revision() == 3; }));
    CHECK(Contents(followed.journal()) == Texts{"Service shop/b 10.96.0.2"});
  }
}

TEST_CASE("a burst of events is carried out in order") {
  FakeApiServer api;
  std::string bytes;
  for (int i = 0; i < 2000; ++i) {
    bytes += Modified(ServiceJson("a", 1 + i % 200, std::to_string(10 + i))) + "\n";
  }
  api.Script("services", {Services("7", {}), WatchBytes(bytes, bytes.size())});
  Followed followed(api);
  CHECK(followed.Await([&] { return followed.journal().head_revision() == 2000; }));
  CHECK(Contents(followed.journal()) == Texts{"Service shop/a 10.96.0.200"});
}

TEST_CASE("an invalid object keeps its version before, over a new list too") {
  FakeApiServer api;
  const std::string bad = ",\"sessionAffinity\":5";
  api.Script("services", {Services("7", {ServiceJson("a", 1)}),
                          Watch({Modified(ServiceJson("a", 2, "8", bad)),
                                 Added(ServiceJson("never", 9, "9", bad)), Error(410, "too old")}),
                          Services("20", {ServiceJson("a", 2, "8", bad), ServiceJson("b", 3)})});
  Followed followed(api);
  CHECK(followed.AwaitRequests("services", {"list", "watch 7", "list", "watch 20"}));
  CHECK(Contents(followed.journal()) ==
        Texts{"Service shop/a 10.96.0.1", "Service shop/b 10.96.0.3"});
  CHECK(followed.StatusOf("services").invalid_objects == 1);
}

TEST_CASE("the journal is partial while there is an object of which no version was valid") {
  FakeApiServer api;
  std::mutex mutex;
  std::condition_variable may_go_on;
  bool go_on = false;
  api.Script("services", {Services("7", {ServiceJson("a", 1, "5", ",\"type\":5")}),
                          [&](const FakeRequest& request, FakeConnection& connection) {
                            std::unique_lock lock(mutex);
                            may_go_on.wait(lock, [&] { return go_on; });
                            return Watch({Modified(ServiceJson("a", 1, "8"))})(request, connection);
                          }});
  Followed followed(api);
  CHECK(followed.Await([&] { return followed.journal().State().complete; }));
  CHECK(followed.journal().State().partial);
  {
    std::lock_guard lock(mutex);
    go_on = true;
  }
  may_go_on.notify_all();
  CHECK(followed.Await([&] { return !followed.journal().State().partial; }));
  CHECK(Contents(followed.journal()) == Texts{"Service shop/a 10.96.0.1"});
}

TEST_CASE("stopping waits for nobody") {
  struct Case {
    const char* name;
    std::vector<FakeAnswer> answers;
    std::vector<std::string> requests;
  };
  const Case cases[] = {
      {"a list that hangs", {Silence()}, {"list"}},
      {"a watch that hangs", {}, {"list", "watch 1"}},
      {"a watch whose answer does not begin", {Services("7", {}), Silence()}, {"list", "watch 7"}},
      {"a long wait", {Status(429, "", "Retry-After: 50\r\n")}, {"list"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    FakeApiServer api;
    api.Script("services", c.answers);
    Followed followed(api);
    CHECK(followed.AwaitRequests("services", c.requests));
    const absl::Time start = absl::Now();
    followed.source().Stop();
    CHECK(absl::Now() - start < absl::Seconds(5));
  }
}

TEST_CASE("a source that was never started can be stopped") {
  Journal journal;
  KubernetesSource source({.url = "http://127.0.0.1:1"}, QuickOptions(), journal);
  source.Stop();
  REQUIRE(source.Status().size() == 3);
  CHECK_FALSE(source.Status()[0].listed);
}

}  // namespace
}  // namespace fairlead::kubernetes
