#include "ipvs/codec.h"

#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>

#include "test/ipvs/goldens.h"
#include "test/ipvs/random_operations.h"

namespace fairlead::ipvs {
namespace {

std::string Encoded(const Operation& operation) {
  std::string buffer;
  EncodeOperation(operation, {.family_id = 32, .flags = NLM_F_ACK, .sequence = 1}, &buffer);
  return buffer;
}

std::string PayloadOf(absl::string_view message) {
  return std::string(DecodeMessage(&message).value().payload);
}

// "1/4" (service, port) -> value, of the two levels of attributes that IPVS has in requests.
std::map<std::string, std::string> AttributesOf(const std::string& data,
                                                const std::string& path = "") {
  std::map<std::string, std::string> result;
  for (size_t offset = 0; offset < data.size();) {
    nlattr header;
    std::memcpy(&header, data.data() + offset, sizeof(header));
    const std::string name = path + std::to_string(header.nla_type & NLA_TYPE_MASK);
    const std::string value = data.substr(offset + NLA_HDRLEN, header.nla_len - NLA_HDRLEN);
    if ((header.nla_type & NLA_F_NESTED) != 0) {
      result.merge(AttributesOf(value, name + "/"));
    } else {
      result[name] = value;
    }
    offset += NLA_ALIGN(header.nla_len);
  }
  return result;
}

std::string Nested(int outer, int inner) {
  return std::to_string(outer) + "/" + std::to_string(inner);
}

TEST_CASE("operations are encoded as ipvsadm encodes them") {
  const std::vector<std::string> lines = ReadGoldenLines("requests.txt");
  const auto operations = GoldenOperations();
  REQUIRE(lines.size() == 2 * operations.size());
  for (size_t i = 0; i < operations.size(); ++i) {
    const auto& [command, operation] = operations[i];
    INFO(command);
    REQUIRE(lines[2 * i] == "ipvsadm " + command);
    const std::string golden = PayloadOf(DecodeHex(lines[2 * i + 1]));
    const std::string ours = PayloadOf(Encoded(operation));
    // The generic netlink header: command and version.
    CHECK(ours.substr(0, GENL_HDRLEN) == golden.substr(0, GENL_HDRLEN));

    std::map<std::string, std::string> wanted = AttributesOf(golden.substr(GENL_HDRLEN));
    if (operation.verb >= Verb::kDeleteVirtualServer) {
      // ipvsadm names more of the virtual server than its key, which the kernel does not read.
      for (const int extra : {IPVS_SVC_ATTR_SCHED_NAME, IPVS_SVC_ATTR_FLAGS, IPVS_SVC_ATTR_TIMEOUT,
                              IPVS_SVC_ATTR_NETMASK}) {
        wanted.erase(Nested(IPVS_CMD_ATTR_SERVICE, extra));
      }
      if (operation.verb == Verb::kDeleteRealServer) {
        for (const int extra : {IPVS_DEST_ATTR_FWD_METHOD, IPVS_DEST_ATTR_WEIGHT,
                                IPVS_DEST_ATTR_U_THRESH, IPVS_DEST_ATTR_L_THRESH}) {
          wanted.erase(Nested(IPVS_CMD_ATTR_DEST, extra));
        }
      }
      // And that the tunnel is of type 0, IPIP, without port and flags: the kernel's defaults.
      for (const int tunnel :
           {IPVS_DEST_ATTR_TUN_TYPE, IPVS_DEST_ATTR_TUN_PORT, IPVS_DEST_ATTR_TUN_FLAGS}) {
        const auto it = wanted.find(Nested(IPVS_CMD_ATTR_DEST, tunnel));
        if (it == wanted.end()) continue;
        CHECK(it->second.find_first_not_of('\0') == std::string::npos);
        wanted.erase(it);
      }
    } else {
      CHECK(ours == golden);
    }
    CHECK(AttributesOf(ours.substr(GENL_HDRLEN)) == wanted);
  }
}

TEST_CASE("a request has the frame that it was given") {
  std::string buffer = "before";
  const Frame frame{.family_id = 0x1234, .sequence = 0x89abcdef};
  EncodeOperation(Operation::DeleteVirtualServer(Tcp("10.0.0.1", 80)), frame, &buffer);
  RequestAcknowledgement(6, &buffer);
  const size_t second = buffer.size();
  EncodeDumpVirtualServers(frame, &buffer);
  REQUIRE((second - 6) % NLMSG_ALIGNTO == 0);

  absl::string_view rest = absl::string_view(buffer).substr(6);
  const Message first = DecodeMessage(&rest).value();
  CHECK(first.type == 0x1234);
  CHECK(first.sequence == 0x89abcdef);
  CHECK(first.flags == (NLM_F_REQUEST | NLM_F_ACK));
  const Message dump = DecodeMessage(&rest).value();
  CHECK(dump.flags == (NLM_F_REQUEST | NLM_F_DUMP));
  CHECK(dump.payload.size() == GENL_HDRLEN);
  CHECK(rest.empty());
}

TEST_CASE("the longest request fits") {
  VirtualServerConfig config = Config(std::string(kMaxSchedulerName, 's'));
  config.persistence_engine = std::string(kMaxSchedulerName, 'e');
  const auto key = Tcp("fd00::1", 65535);
  CHECK(Encoded(Operation::AddVirtualServer(key, config)).size() <= kMaxRequestSize);
  CHECK(Encoded(Operation::AddRealServer(key, Real("fd00::2", 1), {})).size() <= kMaxRequestSize);
}

TEST_CASE("a kernel's dump is decoded") {
  std::vector<VirtualServer> servers;
  std::vector<RealServer> real_servers;
  for (const std::string& line : ReadGoldenLines("replies.txt")) {
    const std::string payload = PayloadOf(DecodeHex(line));
    if (payload[0] == IPVS_CMD_NEW_SERVICE) {
      servers.push_back(DecodeVirtualServer(payload).value());
    } else {
      real_servers.push_back(DecodeRealServer(payload, IpFamily::kIpv4).value());
    }
  }
  // As stats.txt has them.
  const Statistics counted{
      .connections = 1, .packets_in = 3, .packets_out = 2, .bytes_in = 164, .bytes_out = 1112};
  const auto without_rates = [](Statistics statistics) {
    statistics.connections_per_second = 0;
    statistics.packets_in_per_second = statistics.packets_out_per_second = 0;
    statistics.bytes_in_per_second = statistics.bytes_out_per_second = 0;
    return statistics;
  };

  REQUIRE(servers.size() == 11);
  for (VirtualServer& server : servers) {
    INFO(server.key.Format());
    // The configuration is the one that was asked for.
    VirtualServerConfig wanted;
    for (const auto& [command, operation] : GoldenOperations()) {
      if (operation.virtual_server == server.key && operation.verb <= Verb::kEditVirtualServer) {
        wanted = operation.virtual_config;
      }
    }
    CHECK(server.config == wanted);
    CHECK(without_rates(server.statistics) ==
          (server.key == Tcp("10.0.0.1", 80) ? counted : Statistics{}));
  }

  REQUIRE(real_servers.size() == 8);
  for (const RealServer& real : real_servers) {
    INFO(real.key.Format());
    const bool used = real.key == Real("127.0.0.1", 8080);
    CHECK(real.active_connections == (used ? 1 : 0));
    CHECK(without_rates(real.statistics) == (used ? counted : Statistics{}));
    bool found = false;
    for (const auto& [command, operation] : GoldenOperations()) {
      found |= operation.real_server == real.key && operation.real_config == real.config;
    }
    CHECK(found);
  }
}

TEST_CASE("statistics of 32 bits are taken where there are no others") {
  for (const std::string& line : ReadGoldenLines("replies.txt")) {
    std::string payload = PayloadOf(DecodeHex(line));
    if (payload[0] != IPVS_CMD_NEW_SERVICE) continue;
    const Statistics wide = DecodeVirtualServer(payload)->statistics;
    // STATS64 becomes an attribute of a type that nobody knows.
    const std::string header("\x7c\x00\x0c\x00", 4);
    const size_t at = payload.find(header);
    REQUIRE(at != std::string::npos);
    // What 32 bits cannot hold: connections, the first attribute in it.
    std::string crowded = payload;
    crowded[at + 4 + NLA_HDRLEN + 5] = 1;
    CHECK(DecodeVirtualServer(crowded)->statistics.connections ==
          wide.connections + (uint64_t{1} << 40));
    payload[at + 2] = 0x3f;
    CHECK(DecodeVirtualServer(payload)->statistics == wide);
  }
}

TEST_CASE("what is encoded is decoded as it was") {
  RandomOperations random(1);
  for (int i = 0; i < 5000; ++i) {
    Operation operation = random.NextValid();
    INFO(operation.Format());
    operation.verb = i % 2 == 0 ? Verb::kAddVirtualServer : Verb::kEditVirtualServer;
    const auto server = DecodeVirtualServer(PayloadOf(Encoded(operation)));
    REQUIRE(server.ok());
    CHECK(server->key == operation.virtual_server);
    CHECK(server->config == operation.virtual_config);

    operation.verb = i % 2 == 0 ? Verb::kAddRealServer : Verb::kEditRealServer;
    // The family is in the message: the default does not matter.
    const auto real = DecodeRealServer(PayloadOf(Encoded(operation)),
                                       i % 3 == 0 ? IpFamily::kIpv4 : IpFamily::kIpv6);
    REQUIRE(real.ok());
    CHECK(real->key == operation.real_server);
    CHECK(real->config == operation.real_config);
  }
}

TEST_CASE("a mask with holes counts as its leading ones") {
  auto operation = Operation::AddVirtualServer(Tcp("10.0.0.1", 80), Config("rr"));
  std::string payload = PayloadOf(Encoded(operation));
  REQUIRE(payload.substr(payload.size() - 4) == "\xff\xff\xff\xff");
  payload.replace(payload.size() - 4, 4, std::string("\xff\x00\xff\x00", 4));
  CHECK(DecodeVirtualServer(payload)->config.persistence_prefix_length == 8);
}

TEST_CASE("error numbers are positive errnos") {
  const auto bytes = [](int32_t number) {
    return std::string(reinterpret_cast<const char*>(&number), sizeof(number));
  };
  CHECK(DecodeErrno(bytes(0)).value() == 0);
  CHECK(DecodeErrno(bytes(-17)).value() == 17);
  for (const std::string& bad : {bytes(1), bytes(-4096), bytes(0).substr(1), std::string()}) {
    CHECK(absl::IsInternal(DecodeErrno(bad).status()));
  }
}

// Everything that a kernel can send, and requests, which have the same form.
std::vector<std::string> Messages() {
  std::vector<std::string> messages;
  for (const std::string& line : ReadGoldenLines("replies.txt"))
    messages.push_back(DecodeHex(line));
  for (const auto& [command, operation] : GoldenOperations()) {
    messages.push_back(Encoded(operation));
  }
  return messages;
}

// Decodes in every way; what comes out must lie within what went in.
void DecodeAll(const std::string& bytes) {
  // A buffer of its own, so that the address sanitizer sees a read beyond its end.
  const std::vector<char> exact(bytes.begin(), bytes.end());
  absl::string_view rest(exact.data(), exact.size());
  while (!rest.empty()) {
    const size_t before = rest.size();
    const auto message = DecodeMessage(&rest);
    if (!message.ok()) return;
    REQUIRE(rest.size() < before);
    (void)DecodeErrno(message->payload);
    (void)DecodeVirtualServer(message->payload);
    (void)DecodeRealServer(message->payload, IpFamily::kIpv6);
  }
}

TEST_CASE("a truncated message is an error") {
  for (const std::string& message : Messages()) {
    const std::string payload = PayloadOf(message);
    const bool of_service = payload.size() < 200 || payload[0] == IPVS_CMD_NEW_SERVICE;
    for (size_t size = 0; size < message.size(); ++size) {
      DecodeAll(message.substr(0, size));
      absl::string_view rest = absl::string_view(message).substr(0, size);
      CHECK(absl::IsInternal(DecodeMessage(&rest).status()));
    }
    if (!of_service || !DecodeVirtualServer(payload).ok()) continue;
    for (size_t size = 0; size + 3 < payload.size(); ++size) {
      // Requests for real servers are whole once the first attribute, the virtual server, is.
      if (payload[0] == IPVS_CMD_NEW_DEST || payload[0] == IPVS_CMD_SET_DEST) break;
      CHECK(absl::IsInternal(DecodeVirtualServer(payload.substr(0, size)).status()));
    }
  }
}

TEST_CASE("a damaged message is decoded to something or refused") {
  std::mt19937 random(7);
  for (const std::string& message : Messages()) {
    for (int i = 0; i < 500; ++i) {
      std::string damaged = message;
      for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips) {
        damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
      }
      if (random() % 4 == 0) damaged.resize(random() % damaged.size());
      DecodeAll(damaged);
      // Past the outer header, which catches most.
      (void)DecodeVirtualServer(
          absl::string_view(damaged).substr(std::min<size_t>(16, damaged.size())));
    }
  }
  SUCCEED();
}

}  // namespace
}  // namespace fairlead::ipvs
