// From the text of a file to validated objects. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "watcher/manifest/field.h"
#include "watcher/manifest/objects.h"

namespace fairlead::manifest {

// Objects of one file; further ones are left out with a problem.
inline constexpr size_t kMaxObjects = 200'000;
// Lists within lists.
inline constexpr int kMaxListNesting = 4;

// Decodes every Service, EndpointSlice, Pod and Node of the text. Other kinds and other versions
// are passed over in silence. `file` is what problems call it; its suffix decides whether a
// malformed text is said to be bad JSON or bad YAML.
DecodedFile DecodeFile(const std::string& file, absl::string_view text);

// What all kinds have.
struct Metadata {
  ObjectName name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::optional<absl::Time> created;
  bool deleted = false;
};

// An object's kind by kind. They read what they can and leave errors in the findings behind the
// fields; the value is only to be used where there are none.
Metadata DecodeMetadata(const Field& object, ManifestKind kind);
ServiceManifest DecodeService(const Field& object, const Metadata& metadata);
PodManifest DecodePod(const Field& object, const Metadata& metadata);
Node DecodeNode(const Field& object, const Metadata& metadata);
// Nothing for a slice that is passed over: of FQDNs, or without a Service.
std::optional<EndpointSlice> DecodeEndpointSlice(const Field& object, const Metadata& metadata);

inline constexpr char kServiceNameLabel[] = "kubernetes.io/service-name";
inline constexpr char kZoneLabel[] = "topology.kubernetes.io/zone";

// Readers that several kinds use. Each reports what is wrong with the field.

// The labels that make a Service or a slice invisible to a proxy.
void ReadProxyLabels(const Metadata& metadata, bool* headless_label,
                     std::optional<std::string>* proxy_name_label);
// 1 to 65535; nothing where it is absent or wrong.
std::optional<uint16_t> ReadPort(const Field& field);
// TCP where it is absent; nothing where it is wrong.
std::optional<ipvs::Protocol> ReadProtocol(const Field& field);
// Of an address that packets can be sent to: not unspecified, loopback, link-local or multicast.
std::optional<IpAddress> ReadUnicastAddress(const Field& field, Severity severity);
// A DNS-1123 subdomain.
std::optional<std::string> ReadName(const Field& field);
// A port's name: empty where it is absent; nothing where it is wrong.
std::optional<std::string> ReadPortName(const Field& field);

}  // namespace fairlead::manifest
