#include "watcher/manifest/folder_events.h"

#include <catch2/catch.hpp>

namespace fairlead::manifest {
namespace {

using Action = FolderEvent::Action;
using Names = std::set<std::string>;

const FollowedPaths kPaths{.given = {"/m", "/etc/one.conf", "here.yaml"},
                           .folders = {"/m", "/m/sub"}};

TEST_CASE("an event says what is to be read, and what is not") {
  struct Case {
    const char* name;
    std::vector<FolderEvent> events;
    bool full_pass;
    Names changed;
    Names being_written;
  };
  const Case cases[] = {
      {"a file is written and closed",
       {{Action::kCreated, "/m", "a.yaml"},
        {Action::kModified, "/m", "a.yaml"},
        {Action::kClosed, "/m", "a.yaml"}},
       false,
       {"/m/a.yaml"},
       {}},
      {"a file is created", {{Action::kCreated, "/m", "a.yaml"}}, false, {}, {"/m/a.yaml"}},
      {"a file is being written", {{Action::kModified, "/m", "a.yaml"}}, false, {}, {"/m/a.yaml"}},
      {"a file in a subfolder",
       {{Action::kClosed, "/m/sub", "a.json"}},
       false,
       {"/m/sub/a.json"},
       {}},
      {"a file is moved here", {{Action::kMovedIn, "/m", "a.yml"}}, false, {"/m/a.yml"}, {}},
      {"a file is moved away while it is written",
       {{Action::kModified, "/m", "a.yaml"}, {Action::kMovedOut, "/m", "a.yaml"}},
       false,
       {"/m/a.yaml"},
       {}},
      {"a file is deleted",
       {{Action::kDeleted, "/m", "a.yaml", false, EntryType::kGone}},
       false,
       {"/m/a.yaml"},
       {}},
      {"a file's mode changes", {{Action::kAttributes, "/m", "a.yaml"}}, false, {"/m/a.yaml"}, {}},
      {"a link is made",
       {{Action::kCreated, "/m", "a.yaml", false, EntryType::kSymbolicLink}},
       false,
       {"/m/a.yaml"},
       {}},
      {"a hard link is made",
       {{Action::kCreated, "/m", "a.yaml", false, EntryType::kLinkedFile}},
       false,
       {"/m/a.yaml"},
       {}},
      {"a file is created and gone",
       {{Action::kCreated, "/m", "a.yaml", false, EntryType::kGone}},
       false,
       {},
       {}},
      {"another kind of file", {{Action::kClosed, "/m", "a.txt"}}, false, {}, {}},
      {"a hidden file",
       {{Action::kClosed, "/m", ".a.yaml.swp"}, {Action::kClosed, "/m", ".a.yaml"}},
       false,
       {},
       {}},
      {"a folder that is not followed", {{Action::kClosed, "/x", "a.yaml"}}, false, {}, {}},
      {"a ConfigMap's data changes",
       {{Action::kMovedIn, "/m", "..data", false, EntryType::kSymbolicLink}},
       true,
       {},
       {}},
      {"a ConfigMap's data is prepared",
       {{Action::kCreated, "/m", "..2024", true, EntryType::kFolder}},
       false,
       {},
       {}},
      {"a folder is made",
       {{Action::kCreated, "/m", "new", true, EntryType::kFolder}},
       true,
       {},
       {}},
      {"a folder goes", {{Action::kDeleted, "/m", "sub", true, EntryType::kGone}}, true, {}, {}},
      {"a folder may be read now",
       {{Action::kAttributes, "/m", "sub", true, EntryType::kFolder}},
       true,
       {},
       {}},
      {"a link that may lead to a folder",
       {{Action::kMovedIn, "/m", "current", false, EntryType::kSymbolicLink}},
       true,
       {},
       {}},
      {"the link to a folder goes",
       {{Action::kDeleted, "/m", "sub", false, EntryType::kGone}},
       true,
       {},
       {}},
      {"the folder itself goes", {{Action::kFolderGone, "/m", ""}}, true, {}, {}},
      {"events were lost",
       {{Action::kModified, "/m", "a.yaml"}, {Action::kOverflow, "", ""}},
       true,
       {},
       {}},
      {"a given file is closed",
       {{Action::kClosed, "/etc", "one.conf"}},
       false,
       {"/etc/one.conf"},
       {}},
      {"a given file in the current folder",
       {{Action::kMovedIn, ".", "here.yaml"}},
       false,
       {"here.yaml"},
       {}},
      {"the neighbour of a given file", {{Action::kClosed, "/etc", "two.yaml"}}, false, {}, {}},
      {"a folder beside a given file",
       {{Action::kCreated, "/etc", "x", true, EntryType::kFolder}},
       false,
       {},
       {}},
      {"a given folder comes back",
       {{Action::kMovedIn, "/", "m", true, EntryType::kFolder}},
       true,
       {},
       {}},
      {"the link to a given folder changes",
       {{Action::kMovedIn, "/", "m", false, EntryType::kSymbolicLink}},
       true,
       {},
       {}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    PendingChanges pending;
    for (const FolderEvent& event : c.events) pending.Add(event, kPaths);
    CHECK(pending.full_pass() == c.full_pass);
    CHECK(pending.changed() == c.changed);
    CHECK(pending.being_written() == c.being_written);
    CHECK(pending.empty() == (!c.full_pass && c.changed.empty()));
    pending.Clear();
    CHECK(pending.empty());
    CHECK(pending.being_written() == c.being_written);
  }
}

}  // namespace
}  // namespace fairlead::manifest
