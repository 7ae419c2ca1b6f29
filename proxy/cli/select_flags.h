// The arguments by which commands are told which virtual servers are meant.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "fairlead/v1/inspect.pb.h"
#include "proxy/cli/select.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fairlead {

struct SelectFlags {
  std::vector<std::string> selectors;
  std::vector<std::string> namespaces;
  std::vector<std::string> services;
  std::vector<std::string> addresses;
  std::vector<std::string> protocols;
};

// `flags` outlives the parse.
void AddSelectFlags(CLI::App& command, SelectFlags& flags);

// What the arguments mean, each with its words for messages.
class Selection {
 public:
  // Arguments of one kind widen the choice, those of different kinds narrow it. INVALID_ARGUMENT
  // names the one that is not understood, and says what is.
  static absl::StatusOr<Selection> Make(const SelectFlags& flags);

  // Nothing is asked for, so everything is meant.
  bool empty() const { return groups_.empty(); }
  const SelectorGroups& groups() const { return groups_; }

  // Each argument for which `found` is false, for all selectors of its kind in order, as the reason
  // for an exit code of 1: "nothing fits shop/crat". All arguments in one line where none is found.
  std::vector<std::string> Complain(const std::vector<std::vector<bool>>& found) const;

  // Of each group, of each selector, whether it fits one of `servers`, which are selected.
  std::vector<std::vector<bool>> FindIn(const std::vector<v1::VirtualServer>& servers) const;

 private:
  absl::Status Add(const std::vector<std::string>& texts, absl::string_view flag,
                   absl::StatusOr<v1::Selector> (*parse)(absl::string_view));

  SelectorGroups groups_;
  // In the groups' shape.
  std::vector<std::vector<std::string>> words_;
};

// Tells on stderr which argument of `fairlead COMMAND` is wrong; the result is the exit code.
int FailUsage(const char* command, const absl::Status& status);

// Tells on stderr what `complaints` say for `fairlead COMMAND`; the result is the exit code.
int TellComplaints(const char* command, const std::vector<std::string>& complaints);

}  // namespace fairlead
