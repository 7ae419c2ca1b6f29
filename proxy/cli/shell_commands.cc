// `fairlead completion` and `fairlead man`: what shells and man(1) know of the command line.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "proxy/cli/command.h"
#include "proxy/cli/command_shape.h"
#include "proxy/cli/completion.h"
#include "proxy/cli/man_page.h"
#include "proxy/cli/version.h"

namespace fairlead {
namespace {

struct ManFlags {
  std::string page = "fairlead";
  std::string directory;
};

int Complete(const std::string& shell, const CommandShape& program) {
  const std::string text = shell == "bash"  ? BashCompletion(program)
                           : shell == "zsh" ? ZshCompletion(program)
                                            : FishCompletion(program);
  std::fputs(text.c_str(), stdout);
  return kExitOk;
}

int Man(const ManFlags& flags, const CommandShape& program) {
  const std::map<std::string, std::string> pages = ManPages(program, kVersion);
  if (flags.directory.empty()) {
    const auto page = pages.find(flags.page + ".1");
    if (page == pages.end()) {
      std::fprintf(stderr, "fairlead man: there is no page %s\n", flags.page.c_str());
      return kExitUsage;
    }
    std::fputs(page->second.c_str(), stdout);
    return kExitOk;
  }
  for (const auto& [name, text] : pages) {
    const std::string path = absl::StrCat(flags.directory, "/", name);
    std::ofstream file(path);
    file << text;
    if (!file.flush()) {
      std::fprintf(stderr, "fairlead man: %s: %s\n", path.c_str(), std::strerror(errno));
      return kExitFailure;
    }
  }
  return kExitOk;
}

}  // namespace

void AddShellCommands(CLI::App& app, Run& run) {
  CLI::App* completion =
      app.add_subcommand("completion", "Print a script by which a shell completes this program");
  auto shell = std::make_shared<std::string>();
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->required();
  completion->footer(
      "  source <(fairlead completion bash)\n"
      "  fairlead completion zsh >/usr/local/share/zsh/site-functions/_fairlead\n"
      "  fairlead completion fish >~/.config/fish/completions/fairlead.fish");
  completion->callback(
      [shell, &app, &run] { run = [shell, &app] { return Complete(*shell, ShapeOf(app)); }; });

  CLI::App* man = app.add_subcommand("man", "Print a page of the manual, or write all of them");
  auto flags = std::make_shared<ManFlags>();
  man->add_option("page", flags->page, "Which: fairlead-list; default: fairlead");
  man->add_option("--directory", flags->directory, "Write all pages into this folder instead");
  man->footer("  fairlead man fairlead-list | man -l -");
  man->callback([flags, &app, &run] { run = [flags, &app] { return Man(*flags, ShapeOf(app)); }; });
}

}  // namespace fairlead
