#include "test/ipvs/parity.h"

#include "absl/strings/str_cat.h"
#include "test/ipvs/goldens.h"

namespace fairlead::ipvs {
namespace {

using O = Operation;
using Code = absl::StatusCode;

const VirtualServerKey& Web() {
  static const VirtualServerKey key = Tcp("10.96.0.1", 80);
  return key;
}

const RealServerKey& Pod() {
  static const RealServerKey key = Real("10.244.0.1", 8080);
  return key;
}

VirtualServerConfig Prefix(IpFamily family, int length) {
  VirtualServerConfig config = Config("rr", family);
  config.flags = kFlagPersistent;
  config.persistence_timeout = absl::Seconds(60);
  config.persistence_prefix_length = static_cast<uint8_t>(length);
  return config;
}

VirtualServerConfig Engine(const std::string& engine) {
  VirtualServerConfig config = Config("rr");
  config.persistence_engine = engine;
  return config;
}

RealServerConfig Weight(int weight) { return {.weight = weight}; }

RealServerConfig Thresholds(uint32_t upper, uint32_t lower) {
  return {.upper_threshold = upper, .lower_threshold = lower};
}

std::vector<ParityCase> VirtualServerCases() {
  const VirtualServerKey v6 = Tcp("fd00::1", 80);
  const VirtualServerKey mark = VirtualServerKey::ForMark(IpFamily::kIpv4, 7);
  return {
      {"a virtual server is added once",
       {{O::AddVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::AddVirtualServer(Web(), Config("rr")), Code::kAlreadyExists},
        {O::AddVirtualServer(Web(), Config("foo")), Code::kAlreadyExists},
        {O::AddVirtualServer(Udp("10.96.0.1", 80), Config("rr")), Code::kOk},
        {O::AddVirtualServer(Tcp("10.96.0.1", 81), Config("rr")), Code::kOk}}},
      {"a virtual server is edited and deleted only if it is there",
       {{O::EditVirtualServer(Web(), Config("rr")), Code::kNotFound},
        {O::DeleteVirtualServer(Web()), Code::kNotFound},
        {O::AddVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::EditVirtualServer(Web(), Config("wrr")), Code::kOk},
        {O::EditVirtualServer(Web(), Config("foo")), Code::kNotFound},
        {O::DeleteVirtualServer(Web()), Code::kOk},
        {O::DeleteVirtualServer(Web()), Code::kNotFound}}},
      {"a scheduler that is not there is not found, and nothing is left of the attempt",
       {{O::AddVirtualServer(Web(), Config("foo")), Code::kNotFound},
        {O::AddVirtualServer(Web(), Config("")), Code::kNotFound},
        {O::AddVirtualServer(Web(), Config("none")), Code::kOk},
        {O::EditVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::EditVirtualServer(Web(), Config("none")), Code::kOk}}},
      {"a persistence engine that is not there is not found",
       {{O::AddVirtualServer(Web(), Engine("foo")), Code::kNotFound},
        {O::AddVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::EditVirtualServer(Web(), Engine("foo")), Code::kNotFound}}},
      {"a persistence prefix of no bits is for IPv4 only",
       {{O::AddVirtualServer(Web(), Prefix(IpFamily::kIpv4, 0)), Code::kOk},
        {O::AddVirtualServer(v6, Prefix(IpFamily::kIpv6, 0)), Code::kInvalidArgument},
        {O::AddVirtualServer(v6, Prefix(IpFamily::kIpv6, 1)), Code::kOk},
        {O::EditVirtualServer(v6, Prefix(IpFamily::kIpv6, 0)), Code::kInvalidArgument},
        {O::EditVirtualServer(v6, Prefix(IpFamily::kIpv6, 128)), Code::kOk}}},
      {"port 0 does not need persistence",
       {{O::AddVirtualServer(Tcp("10.96.0.1", 0), Config("rr")), Code::kOk}}},
      {"a firewall mark is a virtual server of its own in each family",
       {{O::AddVirtualServer(mark, Config("rr")), Code::kOk},
        {O::AddVirtualServer(VirtualServerKey::ForMark(IpFamily::kIpv6, 7),
                             Config("rr", IpFamily::kIpv6)),
         Code::kOk},
        {O::AddVirtualServer(mark, Config("rr")), Code::kAlreadyExists},
        {O::AddVirtualServer(VirtualServerKey::ForMark(IpFamily::kIpv4, 0xffffffff), Config("rr")),
         Code::kOk},
        {O::DeleteVirtualServer(mark), Code::kOk},
        {O::DeleteVirtualServer(mark), Code::kNotFound}}},
      {"deleting a virtual server drops its real servers",
       {{O::AddVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::AddRealServer(Web(), Pod(), Weight(1)), Code::kOk},
        {O::DeleteVirtualServer(Web()), Code::kOk},
        {O::EditRealServer(Web(), Pod(), Weight(2)), Code::kNotFound},
        {O::AddVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::EditRealServer(Web(), Pod(), Weight(2)), Code::kNotFound},
        {O::AddRealServer(Web(), Pod(), Weight(3)), Code::kOk}}},
      {"an edit keeps the real servers",
       {{O::AddVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::AddRealServer(Web(), Pod(), Weight(1)), Code::kOk},
        {O::EditVirtualServer(Web(), Config("sh")), Code::kOk},
        {O::AddRealServer(Web(), Pod(), Weight(1)), Code::kAlreadyExists}}},
      {"what cannot be sent is refused, and the rest of the batch is carried out",
       {{O::AddVirtualServer(Web(), Config(std::string(16, 'x'))), Code::kInvalidArgument},
        {O::AddVirtualServer(Web(), Config("rr")), Code::kOk},
        {O::EditVirtualServer(Web(), Config(std::string(16, 'x'))), Code::kInvalidArgument}}},
  };
}

std::vector<ParityCase> RealServerCases() {
  RealServerConfig tunnel;
  tunnel.forwarding = ForwardingMethod::kTunnel;
  const RealServerKey v6 = Real("fd00:244::1", 8080);
  const ParityStep add_web = {O::AddVirtualServer(Web(), Config("rr")), Code::kOk};
  const ParityStep add_pod = {O::AddRealServer(Web(), Pod(), Weight(1)), Code::kOk};
  const auto address = [](const std::string& text, Code code) -> ParityStep {
    return {O::AddRealServer(Web(), Real(text, 80), Weight(1)), code};
  };
  const auto address_v6 = [](const std::string& text, Code code) -> ParityStep {
    return {O::AddRealServer(Tcp("fd00::1", 80), Real(text, 80), Weight(1)), code};
  };
  return {
      {"a real server needs its virtual server",
       {{O::AddRealServer(Web(), Pod(), Weight(1)), Code::kNotFound},
        {O::EditRealServer(Web(), Pod(), Weight(1)), Code::kNotFound},
        {O::DeleteRealServer(Web(), Pod()), Code::kNotFound},
        {O::AddRealServer(Web(), Pod(), Weight(-1)), Code::kNotFound}}},
      {"a real server is added once, edited and deleted only if it is there",
       {add_web,
        {O::EditRealServer(Web(), Pod(), Weight(1)), Code::kNotFound},
        {O::DeleteRealServer(Web(), Pod()), Code::kNotFound},
        add_pod,
        {O::AddRealServer(Web(), Pod(), Weight(1)), Code::kAlreadyExists},
        {O::AddRealServer(Web(), Real("10.244.0.1", 8081), Weight(1)), Code::kOk},
        {O::EditRealServer(Web(), Pod(), Weight(0)), Code::kOk},
        {O::EditRealServer(Web(), Pod(), Thresholds(20, 10)), Code::kOk},
        {O::DeleteRealServer(Web(), Real("10.244.0.1", 8081)), Code::kOk},
        {O::DeleteRealServer(Web(), Real("10.244.0.1", 8081)), Code::kNotFound}}},
      {"weights and thresholds have bounds",
       {add_web,
        {O::AddRealServer(Web(), Pod(), Weight(-1)), Code::kInvalidArgument},
        {O::AddRealServer(Web(), Pod(), Thresholds(1, 2)), Code::kInvalidArgument},
        {O::AddRealServer(Web(), Pod(), Thresholds(0, 1)), Code::kInvalidArgument},
        {O::AddRealServer(Web(), Pod(), Thresholds(2, 2)), Code::kOk},
        {O::AddRealServer(Web(), Pod(), Weight(-1)), Code::kInvalidArgument},
        {O::EditRealServer(Web(), Pod(), Weight(-1)), Code::kInvalidArgument},
        {O::EditRealServer(Web(), Pod(), Thresholds(1, 2)), Code::kInvalidArgument},
        {O::EditRealServer(Web(), Pod(), Weight(0x7fffffff)), Code::kOk}}},
      {"a real server of the other family needs a tunnel",
       {add_web,
        {O::AddRealServer(Web(), v6, Weight(1)), Code::kInvalidArgument},
        {O::DeleteRealServer(Web(), v6), Code::kNotFound},
        {O::AddRealServer(Web(), v6, tunnel), Code::kOk},
        {O::EditRealServer(Web(), v6, Weight(1)), Code::kInvalidArgument},
        {O::EditRealServer(Web(), Real("fd00:244::2", 1), Weight(1)), Code::kInvalidArgument},
        {O::DeleteRealServer(Web(), v6), Code::kOk}}},
      {"addresses that no server can have are refused",
       {add_web,
        address("0.0.0.0", Code::kInvalidArgument),
        address("0.1.2.3", Code::kOk),
        address("255.255.255.255", Code::kInvalidArgument),
        address("224.0.0.1", Code::kInvalidArgument),
        address("127.0.0.1", Code::kOk),
        address("169.254.1.1", Code::kOk),
        {O::AddVirtualServer(Tcp("fd00::1", 80), Config("rr", IpFamily::kIpv6)), Code::kOk},
        address_v6("::", Code::kInvalidArgument),
        address_v6("ff02::1", Code::kInvalidArgument),
        address_v6("fe80::1", Code::kInvalidArgument),
        address_v6("::ffff:10.0.0.1", Code::kInvalidArgument),
        address_v6("::1", Code::kOk),
        address_v6("fd00:244::1", Code::kOk)}},
      {"port 0 is a port",
       {add_web, {O::AddRealServer(Web(), Real("10.244.0.1", 0), Weight(1)), Code::kOk}}},
      {"a deleted real server comes back as it is asked for",
       {add_web,
        add_pod,
        {O::DeleteRealServer(Web(), Pod()), Code::kOk},
        {O::AddRealServer(Web(), Pod(), Weight(9)), Code::kOk}}},
  };
}

}  // namespace

std::vector<ParityCase> ParityCases() {
  std::vector<ParityCase> cases = VirtualServerCases();
  for (ParityCase& parity_case : RealServerCases()) cases.push_back(std::move(parity_case));
  return cases;
}

std::vector<Operation> OperationsOf(const ParityCase& parity_case) {
  std::vector<Operation> operations;
  for (const ParityStep& step : parity_case.steps) operations.push_back(step.operation);
  return operations;
}

std::vector<absl::StatusCode> ExpectedCodes(const ParityCase& parity_case) {
  std::vector<absl::StatusCode> codes;
  for (const ParityStep& step : parity_case.steps) codes.push_back(step.expected);
  return codes;
}

std::vector<absl::StatusCode> CodesOf(const std::vector<absl::Status>& statuses) {
  std::vector<absl::StatusCode> codes;
  for (const absl::Status& status : statuses) codes.push_back(status.code());
  return codes;
}

std::vector<std::string> DescribeTable(const std::vector<VirtualServer>& table) {
  std::vector<std::string> lines;
  for (const VirtualServer& server : table) {
    const VirtualServerConfig& config = server.config;
    lines.push_back(absl::StrCat(
        server.key.Format(), " ", config.scheduler, " flags ", config.flags, " timeout ",
        absl::FormatDuration(config.persistence_timeout), " prefix ",
        config.persistence_prefix_length, " engine '", config.persistence_engine, "'"));
    for (const RealServer& real : server.real_servers) {
      lines.push_back(absl::StrCat(server.key.Format(), " -> ", real.key.Format(), " ",
                                   FormatForwardingMethod(real.config.forwarding), " weight ",
                                   real.config.weight, " thresholds ", real.config.upper_threshold,
                                   " ", real.config.lower_threshold));
    }
  }
  return lines;
}

}  // namespace fairlead::ipvs
