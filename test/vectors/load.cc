#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "test/vectors/vectors.h"

namespace fairlead::vectors {
namespace {

constexpr char kStageFile[] = "stage";
// Columns that are no places.
const std::set<std::string> kKeys = {"service", "port", "to", "families", "machine"};

// A fault of a file. It stays within LoadGroups, as those of yaml-cpp do.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Parts>
[[noreturn]] void Fail(const Parts&... parts) {
  throw Fault(absl::StrCat(parts...));
}

struct Run {
  std::string name;
  bool pod_bridge = false;
  std::vector<std::string> flags;
};

// A Service's port, where it can be reached.
struct Target {
  IpAddress address;
  uint16_t port = 0;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
};

std::string Text(const YAML::Node& node, const std::string& otherwise = "") {
  return node.IsDefined() && node.IsScalar() ? node.Scalar() : otherwise;
}

std::vector<std::string> Texts(const YAML::Node& list) {
  std::vector<std::string> texts;
  for (const YAML::Node& item : list) texts.push_back(item.as<std::string>());
  return texts;
}

IpAddress ParseAddress(absl::string_view text) {
  absl::StatusOr<IpAddress> address = IpAddress::Parse(text);
  if (!address.ok()) Fail(address.status().message());
  return *address;
}

ipvs::Protocol ParseProtocol(absl::string_view text) {
  absl::StatusOr<ipvs::Protocol> protocol = ipvs::ParseProtocol(absl::AsciiStrToUpper(text));
  if (!protocol.ok()) Fail(protocol.status().message());
  return *protocol;
}

uint16_t ParsePort(absl::string_view text) {
  int port = 0;
  if (!absl::SimpleAtoi(text, &port) || port < 1 || port > 65535) Fail("no port: ", text);
  return static_cast<uint16_t>(port);
}

// "10.96.0.1:80/tcp", "[fd96::1]:80/tcp".
Target ParseTarget(absl::string_view text) {
  const size_t slash = text.rfind('/');
  const size_t colon = text.rfind(':', slash);
  if (slash == absl::string_view::npos || colon == absl::string_view::npos) {
    Fail("not ADDRESS:PORT/PROTOCOL: `", text, "`");
  }
  absl::string_view address = text.substr(0, colon);
  if (absl::ConsumePrefix(&address, "[")) absl::ConsumeSuffix(&address, "]");
  return {ParseAddress(address), ParsePort(text.substr(colon + 1, slash - colon - 1)),
          ParseProtocol(text.substr(slash + 1))};
}

Source MakeSource(const std::string& column, bool pod_bridge, const IpAddress& destination) {
  const bool v4 = destination.is_v4();
  if (column == "node") return {column, "", ParseAddress(v4 ? kNode4 : kNode6), ""};
  if (column == "self") return {column, "", destination, ""};
  if (column == "outside") return {column, "", ParseAddress(v4 ? kClient4 : kClient6), "eth0"};
  const StagePod* pod = FindPod(column == "pod" ? "client-1" : column);
  if (pod == nullptr || pod->node != 1) Fail(column, " is neither a key nor a place on n1");
  return {column, pod->name, ParseAddress(v4 ? pod->ipv4 : pod->ipv6),
          pod_bridge ? "cni0" : pod->device};
}

// What the stage's pods answer on, where a cell does not say.
uint16_t UsualPort(ipvs::Protocol protocol) {
  return protocol == ipvs::Protocol::kUdp ? 5353 : 8080;
}

using Sets = std::map<std::string, std::vector<std::string>>;

// NAME or NAME:PORT, with or without " masq".
void AddEndpoint(absl::string_view text, bool masquerade, ipvs::Protocol protocol,
                 Expected* expected) {
  masquerade |= absl::ConsumeSuffix(&text, " masq");
  const StagePod* pod = FindPod(text.substr(0, text.find(':')));
  if (pod == nullptr || !pod->answers) Fail("`", text, "` is neither a set nor an endpoint");
  const std::string endpoint = absl::StrContains(text, ':')
                                   ? std::string(text)
                                   : absl::StrCat(text, ":", UsualPort(protocol));
  if (!expected->endpoints.emplace(endpoint, masquerade).second) Fail(endpoint, " is there twice");
}

// A set, or an endpoint.
void AddEndpoints(absl::string_view text, const Sets& sets, ipvs::Protocol protocol,
                  Expected* expected) {
  absl::string_view name = text;
  const bool masquerade = absl::ConsumeSuffix(&name, " masq");
  const auto set = sets.find(std::string(name));
  if (set == sets.end()) return AddEndpoint(text, false, protocol, expected);
  for (const std::string& endpoint : set->second) {
    AddEndpoint(endpoint, masquerade, protocol, expected);
  }
}

Expected ParseCell(const YAML::Node& cell, const Sets& sets, ipvs::Protocol protocol) {
  Expected expected;
  if (cell.IsScalar()) {
    absl::string_view text = cell.Scalar();
    for (const Verdict verdict : {Verdict::kReject, Verdict::kDrop, Verdict::kNone}) {
      if (text != FormatVerdict(verdict)) continue;
      expected.verdict = verdict;
      return expected;
    }
    expected.one_of = absl::ConsumePrefix(&text, "one of ");
    AddEndpoints(text, sets, protocol, &expected);
  } else {
    for (const std::string& text : Texts(cell)) AddEndpoints(text, sets, protocol, &expected);
  }
  if (expected.endpoints.empty()) Fail("a cell is empty");
  expected.verdict = Verdict::kBalance;
  return expected;
}

// The Services among the objects, and how they can be reached. It reads them by itself: what the
// program under test makes of them is in question.
class Services {
 public:
  explicit Services(const std::vector<YAML::Node>& objects) {
    for (const YAML::Node& object : objects) {
      if (Text(object["kind"]) == "Service") services_.push_back(object);
    }
  }

  YAML::Node Find(const std::string& name) const {
    std::vector<YAML::Node> found;
    for (const YAML::Node& service : services_) {
      if (name == Text(service["metadata"]["name"]) || name == FullName(service)) {
        found.push_back(service);
      }
    }
    if (found.size() != 1) Fail("there are ", found.size(), " Services ", name);
    return found[0];
  }

  static std::string FullName(const YAML::Node& service) {
    const YAML::Node metadata = service["metadata"];
    return absl::StrCat(Text(metadata["namespace"], "default"), "/", Text(metadata["name"]));
  }

  // An empty name: the only port.
  static YAML::Node FindPort(const YAML::Node& service, const std::string& name) {
    const YAML::Node ports = service["spec"]["ports"];
    if (name.empty() && ports.size() == 1) return ports[0];
    for (const YAML::Node& port : ports) {
      if (!name.empty() && Text(port["name"]) == name) return port;
    }
    Fail("there is no port `", name, "`");
  }

  static std::vector<Target> Targets(const YAML::Node& service, const YAML::Node& port,
                                     const std::string& to) {
    const YAML::Node spec = service["spec"];
    const ipvs::Protocol protocol = ParseProtocol(Text(port["protocol"], "TCP"));
    std::set<IpFamily> families;
    for (const std::string& ip : Texts(spec["clusterIPs"]))
      families.insert(ParseAddress(ip).family());
    std::vector<Target> targets;
    const auto add = [&](const std::vector<std::string>& addresses, const YAML::Node& number) {
      for (const std::string& text : addresses) {
        const IpAddress address = ParseAddress(text);
        if (families.count(address.family()) == 0) continue;
        targets.push_back({address, ParsePort(Text(number)), protocol});
      }
    };
    const bool external = to == "external";
    if (to == "clusterIP") add(Texts(spec["clusterIPs"]), port["port"]);
    if (to == "nodePort" || external) add({kNode4, kNode6}, port["nodePort"]);
    if (to == "loadBalancer" || external) add(BalancerAddresses(service), port["port"]);
    if (to == "externalIP" || external) add(Texts(spec["externalIPs"]), port["port"]);
    return targets;
  }

 private:
  static std::vector<std::string> BalancerAddresses(const YAML::Node& service) {
    std::vector<std::string> addresses;
    for (const YAML::Node& ingress : service["status"]["loadBalancer"]["ingress"]) {
      if (ingress["ip"].IsDefined()) addresses.push_back(Text(ingress["ip"]));
    }
    return addresses;
  }

  std::vector<YAML::Node> services_;
};

// One file of vectors.
class File {
 public:
  explicit File(const std::filesystem::path& path) : name_(path.stem()) {
    std::ifstream stream(path);
    std::stringstream text;
    text << stream.rdbuf();
    documents_ = YAML::LoadAll(text.str());
    if (documents_.empty()) Fail("is empty");
    objects_ = text.str();
    if (name_ == kStageFile) return;
    const size_t end = objects_.find("\n---\n");
    if (end == std::string::npos) Fail("has no objects");
    objects_.erase(0, end + 1);
  }

  const std::string& name() const { return name_; }
  const std::string& objects() const { return objects_; }

  std::vector<Run> Runs() const {
    std::vector<Run> runs;
    for (const YAML::Node& node : tables()["runs"]) {
      runs.push_back({Text(node["name"]), Text(node["pods"]) == "bridge", Texts(node["flags"])});
    }
    if (runs.empty()) {
      runs.push_back({"cluster-cidr", false, {"--cluster-cidr", "10.244.0.0/16,fd44::/16"}});
    }
    for (Run& run : runs) CompleteFlags(&run.flags);
    return runs;
  }

  std::vector<Case> Cases(const Run& run) const {
    const Services services({documents_.begin() + 1, documents_.end()});
    const Sets sets = ReadSets();
    std::vector<Case> cases;
    for (const YAML::Node& table : tables()["tables"]) {
      const std::vector<std::string> runs = Texts(table["runs"]);
      if (!runs.empty() && std::find(runs.begin(), runs.end(), run.name) == runs.end()) continue;
      const std::vector<std::string> columns = Texts(table["columns"]);
      for (const YAML::Node& row : table["rows"]) {
        try {
          AddRow(run, ReadRow(columns, row), services, sets, &cases);
        } catch (const std::exception& fault) {
          Fail("line ", row.Mark().line + 1, ": ", fault.what());
        }
      }
    }
    return cases;
  }

  // A run that a table names and the file does not have would be left out in silence.
  void CheckRunNames() const {
    std::set<std::string> known;
    for (const Run& run : Runs()) known.insert(run.name);
    for (const YAML::Node& table : tables()["tables"]) {
      for (const std::string& run : Texts(table["runs"])) {
        if (known.count(run) == 0) Fail("there is no run ", run);
      }
    }
  }

 private:
  const YAML::Node& tables() const { return documents_[0]; }

  static void CompleteFlags(std::vector<std::string>* flags) {
    flags->insert(flags->end(), {"--service-cluster-ip-range", "10.96.0.0/12,fd96::/112"});
    const std::string addresses = "--nodeport-addresses";
    if (std::count(flags->begin(), flags->end(), addresses) > 0) return;
    flags->insert(flags->end(), {addresses, "primary"});
  }

  Sets ReadSets() const {
    Sets sets;
    for (const auto& set : tables()["sets"]) {
      sets[set.first.as<std::string>()] = Texts(set.second);
    }
    return sets;
  }

  // The row's cells by column, without those that say nothing.
  using Row = std::map<std::string, YAML::Node>;
  static Row ReadRow(const std::vector<std::string>& columns, const YAML::Node& list) {
    if (list.size() != columns.size()) Fail("has ", list.size(), " cells");
    Row row;
    for (size_t i = 0; i < columns.size(); ++i) {
      if (!list[i].IsNull()) row.emplace(columns[i], list[i]);
    }
    return row;
  }

  static std::string Value(const Row& row, const std::string& column) {
    const auto found = row.find(column);
    return found == row.end() ? "" : found->second.as<std::string>();
  }

  // The addresses that the row is about; sets `base`'s row and Service.
  static std::vector<Target> ReadTargets(const Row& row, const Services& services, Case* base) {
    const std::string to = Value(row, "to");
    if (row.count("service") == 0) {
      base->row = "to " + to;
      return {ParseTarget(to)};
    }
    const YAML::Node service = services.Find(Value(row, "service"));
    const YAML::Node port = Services::FindPort(service, Value(row, "port"));
    base->service = Services::FullName(service);
    if (!Text(port["name"]).empty()) absl::StrAppend(&base->service, ":", Text(port["name"]));
    base->row = absl::StrCat(base->service, " to ", to);
    if (absl::StrContains(to, '/')) return {ParseTarget(to)};
    return Services::Targets(service, port, to);
  }

  void AddRow(const Run& run, const Row& row, const Services& services, const Sets& sets,
              std::vector<Case>* cases) const {
    Case base{.file = name_, .run = run.name, .needs_machine = Value(row, "machine") == "true"};
    const std::vector<Target> targets = ReadTargets(row, services, &base);
    std::vector<std::string> families = {"IPv4", "IPv6"};
    if (row.count("families") > 0) families = Texts(row.at("families"));
    const size_t before = cases->size();
    for (const Target& target : targets) {
      const std::string family(FormatFamily(target.address.family()));
      if (std::count(families.begin(), families.end(), family) == 0) continue;
      for (const auto& [column, cell] : row) {
        if (kKeys.count(column) > 0) continue;
        Case one = base;
        one.address = target.address;
        one.port = target.port;
        one.protocol = target.protocol;
        one.source = MakeSource(column, run.pod_bridge, target.address);
        one.expected = ParseCell(cell, sets, target.protocol);
        if (one.expected.verdict != Verdict::kNone && one.service.empty()) Fail("names no Service");
        cases->push_back(std::move(one));
      }
    }
    if (cases->size() == before) Fail("makes no case");
  }

  const std::string name_;
  std::vector<YAML::Node> documents_;
  std::string objects_;
};

std::vector<std::filesystem::path> FindFiles(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".yaml") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Group& FindGroup(const Run& run, std::vector<Group>* groups) {
  for (Group& group : *groups) {
    if (group.pod_bridge == run.pod_bridge && group.flags == run.flags) return group;
  }
  groups->push_back({.name = run.name, .pod_bridge = run.pod_bridge, .flags = run.flags});
  return groups->back();
}

void AddFile(const File& file, std::vector<Group>* groups) {
  file.CheckRunNames();
  for (const Run& run : file.Runs()) {
    Group& group = FindGroup(run, groups);
    group.manifests[file.name() + ".yaml"] = file.objects();
    std::vector<Case> cases = file.Cases(run);
    if (cases.empty()) Fail("run ", run.name, " has no rows");
    group.cases.insert(group.cases.end(), cases.begin(), cases.end());
  }
}

}  // namespace

absl::StatusOr<std::vector<Group>> LoadGroups(const std::string& folder) {
  std::vector<Group> groups;
  std::string stage;
  std::filesystem::path current = folder;
  try {
    for (const std::filesystem::path& path : FindFiles(folder)) {
      current = path;
      const File file(path);
      if (file.name() == kStageFile) {
        stage = file.objects();
      } else {
        AddFile(file, &groups);
      }
    }
  } catch (const std::exception& fault) {
    return absl::InvalidArgumentError(absl::StrCat(current.string(), ": ", fault.what()));
  }
  if (groups.empty() || stage.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(folder, ": no vectors, or no stage"));
  }
  for (Group& group : groups) group.manifests[absl::StrCat(kStageFile, ".yaml")] = stage;
  return groups;
}

}  // namespace fairlead::vectors
