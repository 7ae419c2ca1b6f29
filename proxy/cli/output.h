// In which forms the commands print what they found.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace CLI {
class App;
}  // namespace CLI

namespace fairlead {

enum class Output { kText, kWide, kJson, kYaml, kIpvsadm };

struct OutputFlags {
  std::string name = "text";
  bool wide = false;

  Output output() const;
};

// Adds `-o NAME` with the names that the command has, and `--wide` where "wide" is among them.
// `flags` outlives the parse.
void AddOutputFlags(CLI::App& command, const std::vector<std::string>& names, OutputFlags& flags);

using Document = nlohmann::ordered_json;

// As JSON, indented by two spaces, or for kYaml as YAML 1.2 in block style, where every text is in
// double quotes, so that none is taken for a number or a truth value. Ends with a newline.
std::string FormatDocument(const Document& document, Output output);

// The same for one element of an array that is a field of the outermost object, for documents that
// are too long to be held: with the element's indentation, and without what stands between
// elements.
std::string FormatElement(const Document& element, Output output);

// Says in the help of every subcommand what its exit codes are, behind what it says of its own.
void AddExitCodes(CLI::App& app);

}  // namespace fairlead
