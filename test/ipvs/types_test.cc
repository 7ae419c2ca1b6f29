#include "ipvs/types.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <vector>

#include "ipvs/errors.h"
#include "ipvs/table.h"
#include "ipvs/validate.h"
#include "test/ipvs/goldens.h"

namespace fairlead::ipvs {
namespace {

TEST_CASE("protocols have the names that Kubernetes gives them") {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    CHECK(ParseProtocol(FormatProtocol(protocol)).value() == protocol);
  }
  CHECK(FormatProtocol(Protocol::kSctp) == "SCTP");
  for (const std::string text : {"", "tcp", "TCP ", "ICMP"}) {
    CHECK(absl::IsInvalidArgument(ParseProtocol(text).status()));
  }
}

TEST_CASE("keys and operations are formatted for messages") {
  const auto web = Tcp("10.96.0.1", 443);
  const auto dns = Udp("fd00::1", 53);
  const auto mark = VirtualServerKey::ForMark(IpFamily::kIpv6, 7);
  const auto pod = Real("10.244.1.2", 8080);
  CHECK(web.Format() == "TCP 10.96.0.1:443");
  CHECK(dns.Format() == "UDP [fd00::1]:53");
  CHECK(mark.Format() == "FWM 7 IPv6");
  CHECK(Operation::AddVirtualServer(web, {}).Format() == "add virtual server TCP 10.96.0.1:443");
  CHECK(Operation::EditVirtualServer(dns, {}).Format() == "edit virtual server UDP [fd00::1]:53");
  CHECK(Operation::DeleteVirtualServer(mark).Format() == "delete virtual server FWM 7 IPv6");
  CHECK(Operation::AddRealServer(web, pod, {}).Format() ==
        "add real server 10.244.1.2:8080 to TCP 10.96.0.1:443");
  CHECK(Operation::EditRealServer(web, pod, {}).Format() ==
        "edit real server 10.244.1.2:8080 of TCP 10.96.0.1:443");
  CHECK(Operation::DeleteRealServer(web, pod).Format() ==
        "delete real server 10.244.1.2:8080 from TCP 10.96.0.1:443");
}

TEST_CASE("each errno of the kernel has its code, by verb") {
  const auto web = Tcp("10.96.0.1", 80);
  const auto add = Operation::AddVirtualServer(web, Config("foo"));
  const auto remove = Operation::DeleteVirtualServer(web);
  const auto add_real = Operation::AddRealServer(web, Real("10.1.0.1", 80), {});
  const auto edit_real = Operation::EditRealServer(web, Real("10.1.0.1", 80), {});
  using Code = absl::StatusCode;
  struct Row {
    int error;
    Operation operation;
    Code code;
  };
  const std::vector<Row> rows = {
      {0, add, Code::kOk},
      {EEXIST, add, Code::kAlreadyExists},
      {EEXIST, add_real, Code::kAlreadyExists},
      {ESRCH, remove, Code::kNotFound},
      {ESRCH, add_real, Code::kNotFound},
      {ENOENT, add, Code::kNotFound},
      {ENOENT, edit_real, Code::kNotFound},
      {ENOENT, remove, Code::kFailedPrecondition},
      {ENOENT, add_real, Code::kFailedPrecondition},
      {EINVAL, add, Code::kInvalidArgument},
      {ERANGE, add_real, Code::kInvalidArgument},
      {EAFNOSUPPORT, add, Code::kInvalidArgument},
      {EPERM, add, Code::kPermissionDenied},
      {ENOMEM, add, Code::kResourceExhausted},
      {EIO, add, Code::kInternal},
  };
  for (const Row& row : rows) {
    INFO(row.operation.Format() << ", errno " << row.error);
    CHECK(StatusFromErrno(row.error, row.operation).code() == row.code);
  }
}

TEST_CASE("a message says what was asked for and what is missing") {
  auto config = Config("foo");
  const auto add = Operation::AddVirtualServer(Tcp("10.96.0.1", 80), config);
  CHECK(StatusFromErrno(ENOENT, add).message() ==
        "add virtual server TCP 10.96.0.1:80: scheduler \"foo\" is not in this kernel: "
        "run `modprobe -a ip_vs_foo`");
  config.persistence_engine = "sip";
  CHECK(StatusFromErrno(ENOENT, Operation::EditVirtualServer(Udp("10.0.0.1", 5060), config))
            .message() ==
        "edit virtual server UDP 10.0.0.1:5060: scheduler \"foo\" or persistence engine \"sip\" is "
        "not in this kernel: run `modprobe -a ip_vs_foo ip_vs_pe_sip`");
  CHECK(StatusFromErrno(ESRCH, Operation::DeleteVirtualServer(Tcp("10.96.0.1", 80))).message() ==
        "delete virtual server TCP 10.96.0.1:80: it does not exist");
  CHECK(StatusFromErrno(ENOENT, "dump virtual servers").message() ==
        "dump virtual servers: this kernel has no IPVS (module ip_vs): run `modprobe ip_vs`");
}

TEST_CASE("what cannot be carried to the kernel is refused before it is sent") {
  struct Row {
    std::string name;
    void (*change)(Operation*);
  };
  const std::vector<Row> rows = {
      {"the hashed flag", [](Operation* o) { o->virtual_config.flags = 0x2; }},
      {"an unknown flag", [](Operation* o) { o->virtual_config.flags = 0x40; }},
      {"a long scheduler name",
       [](Operation* o) { o->virtual_config.scheduler = std::string(16, 'x'); }},
      {"a NUL in a name",
       [](Operation* o) { o->virtual_config.scheduler = std::string("r\0r", 3); }},
      {"a long engine name",
       [](Operation* o) { o->virtual_config.persistence_engine = std::string(16, 'x'); }},
      {"half a second",
       [](Operation* o) { o->virtual_config.persistence_timeout = absl::Milliseconds(500); }},
      {"a negative timeout",
       [](Operation* o) { o->virtual_config.persistence_timeout = -absl::Seconds(1); }},
      {"a timeout that wraps",
       [](Operation* o) {
         o->virtual_config.persistence_timeout = absl::Seconds(kMaxPersistenceSeconds + 1);
       }},
      {"an infinite timeout",
       [](Operation* o) { o->virtual_config.persistence_timeout = absl::InfiniteDuration(); }},
      {"a prefix of 33", [](Operation* o) { o->virtual_config.persistence_prefix_length = 33; }},
      {"a mark with a port", [](Operation* o) { o->virtual_server.firewall_mark = 1; }},
      {"a family that is not the address's",
       [](Operation* o) { o->virtual_server.family = IpFamily::kIpv6; }},
  };
  auto good = Operation::AddVirtualServer(Tcp("10.0.0.1", 80), Config("rr"));
  good.virtual_config.flags = kConfigurableFlags;
  good.virtual_config.persistence_timeout = absl::Seconds(kMaxPersistenceSeconds);
  CHECK(ValidateOperation(good).ok());
  for (const Row& row : rows) {
    INFO(row.name);
    Operation bad = good;
    row.change(&bad);
    CHECK(absl::IsInvalidArgument(ValidateOperation(bad)));
  }
}

}  // namespace
}  // namespace fairlead::ipvs
