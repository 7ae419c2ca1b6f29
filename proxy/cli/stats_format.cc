#include "proxy/cli/stats_format.h"

#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proxy/cli/list_server.h"
#include "proxy/cli/table.h"

namespace fairlead {
namespace {

// Behind ipvsadm's last column: 33 characters, and five times nine.
constexpr int kNameColumn = 78;
constexpr size_t kNumbers = 5;

using Numbers = std::array<uint64_t, kNumbers>;
using Words = std::array<const char*, kNumbers>;

Numbers NumbersOf(const v1::Statistics& statistics, Counting counting) {
  if (counting == Counting::kTotals) {
    return {statistics.connections(), statistics.packets_in(), statistics.packets_out(),
            statistics.bytes_in(), statistics.bytes_out()};
  }
  return {statistics.connections_per_second(), statistics.packets_in_per_second(),
          statistics.packets_out_per_second(), statistics.bytes_in_per_second(),
          statistics.bytes_out_per_second()};
}

constexpr Words kTextHeaders[] = {{"Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"},
                                  {"CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"}};
constexpr Words kColumns[] = {
    {"CONNECTIONS", "PACKETS-IN", "PACKETS-OUT", "BYTES-IN", "BYTES-OUT"},
    {"CONNECTIONS/S", "PACKETS-IN/S", "PACKETS-OUT/S", "BYTES-IN/S", "BYTES-OUT/S"}};
constexpr Words kFields[] = {{"connections", "packetsIn", "packetsOut", "bytesIn", "bytesOut"},
                             {"connectionsPerSecond", "packetsInPerSecond", "packetsOutPerSecond",
                              "bytesInPerSecond", "bytesOutPerSecond"}};

const Words& Of(const Words (&words)[2], Counting counting) {
  return words[counting == Counting::kTotals ? 0 : 1];
}

// A number that does not fit moves those behind it, as with ipvsadm.
std::string FormatNumber(uint64_t number, bool exact) {
  return absl::StrFormat(" %8s", exact ? absl::StrCat(number) : FormatLargeNumber(number));
}

// ipvsadm never shortens the first three rates of a real server.
std::string FormatNumbers(const Numbers& numbers, size_t exact) {
  std::string text;
  for (size_t i = 0; i < kNumbers; ++i) absl::StrAppend(&text, FormatNumber(numbers[i], i < exact));
  return text;
}

void AddNumberCells(const Numbers& numbers, bool exact, std::vector<Cell>& cells) {
  for (const uint64_t number : numbers) {
    cells.emplace_back(exact ? absl::StrCat(number) : FormatLargeNumber(number),
                       number == 0 ? Tone::kFaint : Tone::kPlain);
  }
}

void AddNumberFields(const v1::Statistics& statistics, Counting counting, Document& out) {
  const Numbers numbers = NumbersOf(statistics, counting);
  Document& fields = out[counting == Counting::kTotals ? "statistics" : "rates"];
  for (size_t i = 0; i < kNumbers; ++i) fields[Of(kFields, counting)[i]] = numbers[i];
}

}  // namespace

std::string DescribeMissingRates(const v1::StatusResponse& status) {
  if (!status.estimation_off()) return "";
  return "rates are 0: net.ipv4.vs.run_estimation is 0 on this node";
}

std::string FormatStatsText(const v1::StatusResponse& status,
                            const std::vector<v1::VirtualServer>& servers, Counting counting,
                            bool exact) {
  const Words& headers = Of(kTextHeaders, counting);
  const size_t exact_of_server = exact ? kNumbers : 0;
  const size_t exact_of_real = exact ? kNumbers : counting == Counting::kRates ? 3 : 0;
  std::string text = absl::StrCat(
      status.kernel_table(), "\n",
      WithName(absl::StrFormat("%-33s %8s %8s %8s %8s %8s", "Prot LocalAddress:Port", headers[0],
                               headers[1], headers[2], headers[3], headers[4]),
               "Service", kNameColumn),
      WithName("  -> RemoteAddress:Port", "Pod", kNameColumn));
  for (const v1::VirtualServer& server : servers) {
    const Numbers numbers = NumbersOf(server.statistics(), counting);
    absl::StrAppend(&text, WithName(absl::StrFormat("%-33s", FormatServerTitle(server)) +
                                        FormatNumbers(numbers, exact_of_server),
                                    FormatServicePort(server), kNameColumn));
    for (const v1::RealServer& real : server.real_servers()) {
      absl::StrAppend(
          &text, WithName(FormatRealServerTitle(real) +
                              FormatNumbers(NumbersOf(real.statistics(), counting), exact_of_real),
                          FormatTarget(real), kNameColumn));
    }
  }
  return text;
}

std::string FormatStatsWide(const std::vector<v1::VirtualServer>& servers, Counting counting,
                            bool exact, bool color) {
  std::vector<Column> columns = ServerColumns();
  for (const char* header : {"ENDPOINT", "POD", "NODE"}) columns.push_back({header});
  for (const char* header : Of(kColumns, counting)) columns.push_back({header, Alignment::kRight});
  Table table(std::move(columns), color);
  for (const v1::VirtualServer& server : servers) {
    std::vector<Cell> total = ServerCells(server);
    total.insert(total.end(), 3, Cell(""));
    AddNumberCells(NumbersOf(server.statistics(), counting), exact, total);
    table.AddRow(std::move(total));
    for (const v1::RealServer& real : server.real_servers()) {
      std::vector<Cell> cells = ServerCells(server);
      cells.emplace_back(FormatBytesAddressPort(real.address(), real.port()));
      cells.emplace_back(real.target_name());
      cells.emplace_back(real.node_name());
      AddNumberCells(NumbersOf(real.statistics(), counting), exact, cells);
      table.AddRow(std::move(cells));
    }
  }
  return table.Take();
}

std::string FormatStatsDocument(const v1::StatusResponse& status,
                                const std::vector<v1::VirtualServer>& servers, Counting counting,
                                Output output) {
  Document document;
  document["node"] = status.node_name();
  Document& entries = document["virtualServers"] = Document::array();
  for (const v1::VirtualServer& server : servers) {
    Document entry;
    AddKeyFields(server, entry);
    AddNameFields(server, entry);
    AddNumberFields(server.statistics(), counting, entry);
    Document& reals = entry["realServers"] = Document::array();
    for (const v1::RealServer& real : server.real_servers()) {
      Document added = {{"address", FormatBytesAddress(real.address())},
                        {"port", real.port()},
                        {"pod", real.target_name()},
                        {"node", real.node_name()},
                        {"state", real.state()}};
      AddNumberFields(real.statistics(), counting, added);
      reals.push_back(std::move(added));
    }
    entries.push_back(std::move(entry));
  }
  return FormatDocument(document, output);
}

std::string FormatLargeNumber(uint64_t number) {
  constexpr uint64_t kMillion = 1'000'000;
  if (number < 100 * kMillion) return absl::StrCat(number);
  if (number < 1'000 * kMillion) return absl::StrCat(number / 1'000, "K");
  if (number < 100'000 * kMillion) return absl::StrCat(number / kMillion, "M");
  if (number < 100 * kMillion * kMillion) return absl::StrCat(number / (1'000 * kMillion), "G");
  return absl::StrCat(number / (kMillion * kMillion), "T");
}

}  // namespace fairlead
