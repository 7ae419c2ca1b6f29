#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "watcher/manifest/decode.h"

namespace fairlead::manifest {
namespace {

constexpr size_t kMaxNameLength = 253;  // RFC 1123.
constexpr size_t kMaxPortNameLength = 63;

bool IsAlphanumeric(char c) { return absl::ascii_isdigit(c) || absl::ascii_islower(c); }

// Dot-separated labels of lower-case letters, digits and inner hyphens.
bool IsDnsName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxNameLength) return false;
  if (!IsAlphanumeric(name.front()) || !IsAlphanumeric(name.back())) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '.' && (!IsAlphanumeric(name[i - 1]) || !IsAlphanumeric(name[i + 1]))) {
      return false;
    }
    if (!IsAlphanumeric(name[i]) && name[i] != '-' && name[i] != '.') return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> ReadName(const Field& field) {
  std::optional<std::string> name = field.String();
  if (!name.has_value()) {
    if (!field.present()) field.Error("is missing");
    return std::nullopt;
  }
  if (IsDnsName(*name)) return name;
  field.Error(name->empty() ? "is empty"
                            : absl::StrCat(Quote(*name),
                                           " is not a name (lower-case letters, "
                                           "digits, '-' and '.')"));
  return std::nullopt;
}

std::optional<std::string> ReadPortName(const Field& field) {
  std::optional<std::string> name = field.String();
  if (!name.has_value()) return field.present() ? std::nullopt : std::make_optional<std::string>();
  const bool good = name->size() <= kMaxPortNameLength &&
                    std::all_of(name->begin(), name->end(),
                                [](char c) { return IsAlphanumeric(c) || c == '-'; }) &&
                    (name->empty() || (name->front() != '-' && name->back() != '-'));
  if (good) return name;
  field.Error(
      absl::StrCat(Quote(*name), " is not a port name (lower-case letters, digits and '-')"));
  return std::nullopt;
}

std::optional<uint16_t> ReadPort(const Field& field) {
  const std::optional<int64_t> number = field.Integer();
  if (!number.has_value()) return std::nullopt;
  if (*number >= 1 && *number <= 65535) return static_cast<uint16_t>(*number);
  field.Error(absl::StrCat(*number, " is not a port number (1 to 65535)"));
  return std::nullopt;
}

std::optional<ipvs::Protocol> ReadProtocol(const Field& field) {
  const std::optional<std::string> text = field.String();
  if (!text.has_value() && field.present()) return std::nullopt;
  if (!text.has_value() || text->empty()) return ipvs::Protocol::kTcp;
  absl::StatusOr<ipvs::Protocol> protocol = ipvs::ParseProtocol(*text);
  if (protocol.ok()) return *protocol;
  field.Error(absl::StrCat(Quote(*text), " is not a protocol (TCP, UDP or SCTP)"));
  return std::nullopt;
}

std::optional<IpAddress> ReadUnicastAddress(const Field& field, Severity severity) {
  const std::optional<std::string> text = field.String();
  if (!text.has_value()) return std::nullopt;
  const auto report = [&](std::string message) {
    if (severity == Severity::kError) return field.Error(std::move(message));
    field.Warn(absl::StrCat(message, ": ignored"));
  };
  absl::StatusOr<IpAddress> address = IpAddress::Parse(*text);
  if (!address.ok()) {
    report(absl::StrCat(Quote(*text), " is not an IP address"));
    return std::nullopt;
  }
  const char* fault = address->IsUnspecified() ? "unspecified"
                      : address->IsLoopback()  ? "a loopback address"
                      : address->IsLinkLocal() ? "a link-local address"
                      : address->IsMulticast() ? "a multicast address"
                                               : nullptr;
  if (fault == nullptr) return *address;
  report(absl::StrCat(*text, " is ", fault, ", which a Service cannot use"));
  return std::nullopt;
}

void ReadProxyLabels(const Metadata& metadata, bool* headless_label,
                     std::optional<std::string>* proxy_name_label) {
  *headless_label = metadata.labels.contains("service.kubernetes.io/headless");
  const auto it = metadata.labels.find("service.kubernetes.io/service-proxy-name");
  if (it != metadata.labels.end()) *proxy_name_label = it->second;
}

Metadata DecodeMetadata(const Field& object, ManifestKind kind) {
  Metadata metadata;
  const Field field = object.Get("metadata");
  if (!field.IsMap() && !field.present()) {
    field.Error("is missing");
    return metadata;
  }
  if (auto name = ReadName(field.Get("name"))) metadata.name.name = *std::move(name);
  if (kind != ManifestKind::kNode) {
    const Field name_space = field.Get("namespace");
    metadata.name.name_space = SharedText::Common("default");
    const std::optional<std::string> text = name_space.String();
    if (text.has_value() && !text->empty()) {
      if (IsDnsName(*text)) {
        metadata.name.name_space = SharedText::Common(*text);
      } else {
        name_space.Error(absl::StrCat(Quote(*text), " is not the name of a namespace"));
        metadata.name.name = {};  // Whose it is cannot be said.
      }
    } else if (!text.has_value() && name_space.present()) {
      metadata.name.name = {};
    }
  }
  metadata.labels = field.Get("labels").StringMap();
  metadata.annotations = field.Get("annotations").StringMap();
  metadata.created = field.Get("creationTimestamp").Time();
  metadata.deleted = field.Get("deletionTimestamp").Time().has_value();
  return metadata;
}

}  // namespace fairlead::manifest
