#include "proxy/cli/completion.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace fairlead {
namespace {

// All of them, the program first.
void Collect(const CommandShape& command, std::vector<const CommandShape*>& all) {
  all.push_back(&command);
  for (const CommandShape& child : command.commands) Collect(child, all);
}

std::vector<const CommandShape*> AllOf(const CommandShape& program) {
  std::vector<const CommandShape*> all;
  Collect(program, all);
  return all;
}

// "watcher nodes" of "fairlead watcher nodes".
std::string PathOf(const CommandShape& program, const CommandShape& command) {
  absl::string_view path = command.name;
  absl::ConsumePrefix(&path, program.name);
  absl::ConsumePrefix(&path, " ");
  return std::string(path);
}

std::string LastWord(const std::string& name) { return name.substr(name.rfind(' ') + 1); }

std::vector<std::string> CommandNames(const CommandShape& command) {
  std::vector<std::string> names;
  for (const CommandShape& child : command.commands) names.push_back(LastWord(child.name));
  return names;
}

std::string Quote(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// The first sentence, or what comes before the first semicolon.
std::string Brief(const std::string& description) {
  return description.substr(0, description.find_first_of(";:"));
}

}  // namespace

std::string BashCompletion(const CommandShape& program) {
  std::string cases;
  std::string values;
  for (const CommandShape* command : AllOf(program)) {
    const std::string path = PathOf(program, *command);
    std::vector<std::string> words = CommandNames(*command);
    words.insert(words.end(), command->argument_choices.begin(), command->argument_choices.end());
    for (const FlagShape& flag : command->flags) {
      words.insert(words.end(), flag.names.begin(), flag.names.end());
      if (flag.value.empty()) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : flag.names) patterns.push_back(Quote(path + ":" + name));
      absl::StrAppend(&values, "    ", absl::StrJoin(patterns, "|"), ")\n",
                      !flag.choices.empty() ? absl::StrCat("      COMPREPLY=($(compgen -W ",
                                                           Quote(absl::StrJoin(flag.choices, " ")),
                                                           " -- \"$cur\"))\n")
                      : flag.takes_file     ? "      COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                                            : "",
                      "      return ;;\n");
    }
    absl::StrAppend(&cases, "    ", Quote(path), ") words=", Quote(absl::StrJoin(words, " ")),
                    " ;;\n");
  }
  std::vector<std::string> paths;
  for (const CommandShape* command : AllOf(program)) {
    if (command != &program) paths.push_back(Quote(PathOf(program, *command)));
  }
  return absl::StrCat(
      "# bash completion of fairlead\n"
      "_fairlead() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= words= word\n"
      "  COMPREPLY=()\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"${path:+$path }$word\" in\n      ",
      absl::StrJoin(paths, "|"),
      ") path=${path:+$path }$word ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$path:$prev\" in\n",
      values,
      "  esac\n"
      "  case \"$path\" in\n",
      cases,
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "}\n"
      "complete -o filenames -F _fairlead fairlead\n");
}

std::string ZshCompletion(const CommandShape& program) {
  // In zsh's descriptions brackets and colons are syntax.
  const auto brief = [](const std::string& description) {
    return absl::StrReplaceAll(Brief(description), {{"[", "("}, {"]", ")"}});
  };
  std::string functions;
  for (const CommandShape* command : AllOf(program)) {
    const std::string path = PathOf(program, *command);
    const std::string function = absl::StrCat("_fairlead", path.empty() ? "" : "_",
                                              absl::StrReplaceAll(path, {{" ", "_"}, {"-", "_"}}));
    std::vector<std::string> lines;
    for (const FlagShape& flag : command->flags) {
      const std::string value =
          flag.value.empty()      ? ""
          : !flag.choices.empty() ? absl::StrCat(":value:(", absl::StrJoin(flag.choices, " "), ")")
          : flag.takes_file       ? ":file:_files"
                                  : ":value:";
      for (const std::string& name : flag.names) {
        lines.push_back(Quote(absl::StrCat("*", name, "[", brief(flag.description), "]", value)));
      }
    }
    if (!command->argument_choices.empty()) {
      lines.push_back(
          Quote(absl::StrCat("*: :(", absl::StrJoin(command->argument_choices, " "), ")")));
    }
    if (!command->commands.empty()) {
      lines.push_back("'1: :->command'");
      lines.push_back("'*:: :->words'");
    }
    absl::StrAppend(&functions, function, "() {\n  local context state state_descr line\n",
                    "  typeset -A opt_args\n  _arguments -C \\\n    ",
                    absl::StrJoin(lines, " \\\n    "), "\n");
    if (!command->commands.empty()) {
      std::vector<std::string> names;
      std::string calls;
      for (const CommandShape& child : command->commands) {
        const std::string name = LastWord(child.name);
        names.push_back(Quote(absl::StrCat(name, ":", brief(child.description))));
        absl::StrAppend(&calls, "        ", name, ") ", function, "_",
                        absl::StrReplaceAll(name, {{"-", "_"}}), " ;;\n");
      }
      absl::StrAppend(
          &functions, "  case $state in\n    command)\n      local -a commands=(",
          absl::StrJoin(names, " "),
          ")\n      _describe command commands ;;\n    words)\n      case $line[1] in\n", calls,
          "      esac ;;\n  esac\n");
    }
    absl::StrAppend(&functions, "}\n");
  }
  // Loaded as a function, or read by `source`.
  return absl::StrCat("#compdef fairlead\n# zsh completion of fairlead\n", functions,
                      "if [[ ${funcstack[1]} = _fairlead ]]; then\n  _fairlead \"$@\"\nelse\n"
                      "  compdef _fairlead fairlead\nfi\n");
}

std::string FishCompletion(const CommandShape& program) {
  std::string text = "# fish completion of fairlead\ncomplete -c fairlead -f\n";
  for (const CommandShape* command : AllOf(program)) {
    const std::string path = PathOf(program, *command);
    std::string condition = "__fish_use_subcommand";
    if (!path.empty()) {
      condition =
          absl::StrCat("__fish_seen_subcommand_from ",
                       absl::StrReplaceAll(path, {{" ", "; and __fish_seen_subcommand_from "}}));
    }
    const std::string begin = absl::StrCat("complete -c fairlead -n ", Quote(condition));
    for (const CommandShape& child : command->commands) {
      absl::StrAppend(&text, begin, " -a ", LastWord(child.name), " -d ",
                      Quote(Brief(child.description)), "\n");
    }
    if (!command->argument_choices.empty()) {
      absl::StrAppend(&text, begin, " -a ", Quote(absl::StrJoin(command->argument_choices, " ")),
                      "\n");
    }
    for (const FlagShape& flag : command->flags) {
      absl::StrAppend(&text, begin);
      for (const std::string& name : flag.names) {
        const bool is_long = name.substr(0, 2) == "--";
        absl::StrAppend(&text, is_long ? " -l " : " -s ", name.substr(is_long ? 2 : 1));
      }
      if (!flag.value.empty()) absl::StrAppend(&text, flag.takes_file ? " -r -F" : " -x");
      if (!flag.choices.empty()) {
        absl::StrAppend(&text, " -a ", Quote(absl::StrJoin(flag.choices, " ")));
      }
      absl::StrAppend(&text, " -d ", Quote(Brief(flag.description)), "\n");
    }
  }
  return text;
}

}  // namespace fairlead
