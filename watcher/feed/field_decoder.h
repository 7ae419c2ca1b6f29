// Reads and checks the fields of one received object. Internal to feed_decode.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fairlead/v1/feed.pb.h"
#include "watcher/model.h"

namespace fairlead {

// Where a value stands in its message: "type", "cluster_ips[0]" or "ports[2].port".
struct FieldPath {
  absl::string_view field;
  int index = -1;
  absl::string_view member = {};

  std::string Format() const;
};

// Turns fields into values of the model. Remembers the first that is not valid, and gives a default
// in its place: the caller reads all of an object and then asks for the status. Thread-compatible.
class FieldDecoder {
 public:
  // OK, or INVALID_ARGUMENT: "Service shop/cart: ports[2].port: 70000 is not in 1 to 65535".
  absl::Status StatusOf(const ObjectId& object) const;
  bool ok() const { return error_.empty(); }

  // Of an object or of what is referred to: not empty, not too long.
  std::string Name(const FieldPath& path, const std::string& name);
  // May be empty.
  std::string Text(const FieldPath& path, const std::string& text);
  std::vector<std::string> Texts(const FieldPath& path,
                                 const google::protobuf::RepeatedPtrField<std::string>& texts);

  uint16_t Port(const FieldPath& path, uint32_t port);
  // 0 is allowed.
  uint16_t OptionalPort(const FieldPath& path, uint32_t port);
  uint32_t InRange(const FieldPath& path, uint64_t value, uint32_t low, uint32_t high);

  ipvs::Protocol Protocol(const FieldPath& path, v1::Protocol protocol);
  IpFamily Family(const FieldPath& path, v1::IpFamily family);
  IpAddress Address(const FieldPath& path, const std::string& bytes);
  // No address twice.
  std::vector<IpAddress> Addresses(absl::string_view field,
                                   const google::protobuf::RepeatedPtrField<std::string>& list);
  std::vector<IpPrefix> Prefixes(absl::string_view field,
                                 const google::protobuf::RepeatedPtrField<v1::Prefix>& list);
  absl::Time Timestamp(const FieldPath& path, const google::protobuf::Timestamp& timestamp);

  // An error found by the caller.
  void Fail(const FieldPath& path, absl::string_view problem);

 private:
  std::string error_;
};

}  // namespace fairlead
