#include "test/watcher/kubernetes/objects.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <variant>

#include "absl/strings/str_cat.h"
#include "fairlead/v1/feed.pb.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead::kubernetes {
namespace {

std::string Event(const char* type, const std::string& object) {
  return absl::StrCat(R"({"type":")", type, R"(","object":)", object, "}");
}

std::string Describe(const Service& service) {
  std::string text;
  for (const IpAddress& address : service.cluster_ips)
    absl::StrAppend(&text, " ", address.Format());
  return text;
}

std::string Describe(const EndpointSlice& slice) {
  std::string text;
  for (const Endpoint& endpoint : slice.endpoints) {
    absl::StrAppend(&text, " ", endpoint.address.Format());
  }
  return text;
}

std::string Describe(const Node& node) {
  std::string text;
  for (const IpAddress& address : node.internal_ips) {
    absl::StrAppend(&text, " ", address.Format());
  }
  return text;
}

std::vector<DecodedChange> ReadAll(const Journal& journal) {
  const absl::StatusOr<JournalRead> read =
      journal.Read(JournalCursor(), /*limit_bytes=*/64 << 20, /*node_name=*/"n1");
  REQUIRE(read.ok());
  std::vector<DecodedChange> changes;
  for (const BatchElement& element : read->changes) {
    v1::Batch batch;
    REQUIRE(batch.ParseFromString(*element));
    absl::StatusOr<DecodedChange> change = DecodeChange(batch.changes(0));
    REQUIRE(change.ok());
    changes.push_back(*std::move(change));
  }
  return changes;
}

std::string DescribeObject(const DecodedChange& change) {
  if (!change.object.has_value()) return absl::StrCat("-", change.id.Format());
  return absl::StrCat(
      change.id.Format(),
      std::visit([](const auto& object) { return Describe(*object); }, *change.object));
}

}  // namespace

std::string ServiceJson(const std::string& name, int host, const std::string& version,
                        const std::string& more_spec) {
  return absl::StrCat(
      R"({"kind":"Service","apiVersion":"v1","metadata":{"name":")", name,
      R"(","namespace":"shop","resourceVersion":")", version,
      R"(","managedFields":[{"manager":"kubectl","fieldsV1":{"f:spec":{"k:{\"port\":80}":[1]}}}]},)",
      R"("spec":{"clusterIP":"10.96.0.)", host, R"(","clusterIPs":["10.96.0.)", host,
      R"("],"ports":[{"port":80,"protocol":"TCP"}])", more_spec, "}}");
}

std::string SliceJson(const std::string& name, int host, const std::string& version,
                      const std::string& trigger_time) {
  const std::string annotations =
      trigger_time.empty()
          ? ""
          : absl::StrCat(R"(,"annotations":{"endpoints.kubernetes.io/last-change-trigger-time":")",
                         trigger_time, R"("})");
  return absl::StrCat(R"({"metadata":{"name":")", name,
                      R"(","namespace":"shop","resourceVersion":")", version,
                      R"(","labels":{"kubernetes.io/service-name":"cart"})", annotations,
                      R"(},"addressType":"IPv4","endpoints":[{"addresses":["10.1.0.)", host,
                      R"("]}],"ports":[{"name":"","port":8080,"protocol":"TCP"}]})");
}

std::string NodeJson(const std::string& name, int host, const std::string& version) {
  return absl::StrCat(R"({"metadata":{"name":")", name, R"(","resourceVersion":")", version,
                      R"("},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.)", host,
                      R"("}],"images":[{"names":["a"],"sizeBytes":1}]}})");
}

std::string Added(const std::string& object) { return Event("ADDED", object); }
std::string Modified(const std::string& object) { return Event("MODIFIED", object); }
std::string Deleted(const std::string& object) { return Event("DELETED", object); }

std::string Bookmark(const std::string& kind, const std::string& version) {
  return Event("BOOKMARK", absl::StrCat(R"({"kind":")", kind,
                                        R"(","apiVersion":"v1","metadata":{"resourceVersion":")",
                                        version, R"(","creationTimestamp":null},"spec":{}})"));
}

std::string Error(int code, const std::string& message) {
  return Event("ERROR", StatusJson(code, message));
}

std::string StatusJson(int code, const std::string& message) {
  return absl::StrCat(
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":")", message,
      R"(","code":)", code, "}");
}

std::vector<std::string> Contents(const Journal& journal) {
  std::vector<std::string> contents;
  for (const DecodedChange& change : ReadAll(journal)) {
    if (change.object.has_value()) contents.push_back(DescribeObject(change));
  }
  std::sort(contents.begin(), contents.end());
  return contents;
}

std::vector<std::string> Changes(const Journal& journal) {
  std::vector<std::string> changes;
  for (const DecodedChange& change : ReadAll(journal)) {
    std::string text = absl::StrCat(change.revision, " ", DescribeObject(change));
    if (change.triggered.has_value()) {
      absl::StrAppend(&text, " @",
                      absl::FormatTime(absl::RFC3339_full, *change.triggered, absl::UTCTimeZone()));
    }
    changes.push_back(text);
  }
  return changes;
}

}  // namespace fairlead::kubernetes
