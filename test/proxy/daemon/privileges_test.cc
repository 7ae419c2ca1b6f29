#include "proxy/daemon/privileges.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/nft_program.h"
#include "proxy/kernel/sysctl.h"

namespace fairlead {
namespace {

constexpr int kKeep[] = {CAP_NET_ADMIN};

// What `function` returns in a process of its own, as rights are not got back.
std::string InChild(const std::function<std::string()>& function) {
  int pipe_fds[2];
  REQUIRE(pipe(pipe_fds) == 0);
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const std::string result = function();
    const ssize_t written = write(pipe_fds[1], result.data(), result.size());
    _exit(written == static_cast<ssize_t>(result.size()) ? 0 : 1);
  }
  close(pipe_fds[1]);
  std::string result;
  char buffer[4096];
  ssize_t size = 0;
  while ((size = read(pipe_fds[0], buffer, sizeof(buffer))) > 0) {
    result.append(buffer, static_cast<size_t>(size));
  }
  close(pipe_fds[0]);
  int end = 0;
  REQUIRE(waitpid(pid, &end, 0) == pid);
  CHECK(end == 0);
  return result;
}

std::string Drop() {
  const absl::StatusOr<Privileges> left = DropPrivileges(kKeep);
  return left.ok() ? FormatPrivileges(*left) : left.status().ToString();
}

// What a program is given that is executed.
std::string CapabilitiesOfChild() {
  FILE* pipe = popen("grep -E '^Cap(Prm|Eff|Bnd):' /proc/self/status | cut -f2 | uniq", "r");
  char line[256] = "";
  std::string text;
  while (fgets(line, sizeof(line), pipe) != nullptr) text += line;
  pclose(pipe);
  return text;
}

bool IsRoot() {
  if (geteuid() == 0) return true;
  WARN("SKIPPED: needs root");
  return false;
}

constexpr char kLeft[] = "net_admin; programs it runs can get no more";

TEST_CASE("privileges are told in a line") {
  CHECK(FormatPrivileges({}) == "none");
  CHECK(FormatPrivileges({.permitted = {"net_admin", "sys_module"}, .bounding = {}}) ==
        "net_admin sys_module");
  CHECK(FormatPrivileges(
            {.permitted = {"net_admin"}, .bounding = {"chown"}, .no_new_privileges = true}) ==
        kLeft);
}

TEST_CASE("of root's rights one is left, to this process and its children") {
  if (!IsRoot()) return;
  CHECK(InChild(Drop) == kLeft);
  CHECK(InChild([] {
          const auto left = DropPrivileges(kKeep);
          return left.ok() && *left == Privileges{.permitted = {"net_admin"},
                                                  .bounding = {"net_admin"},
                                                  .no_new_privileges = true}
                     ? std::string("as wanted")
                     : left.status().ToString();
        }) == "as wanted");
  CHECK(InChild([] {
          Drop();
          return CapabilitiesOfChild();
        }) == "0000000000001000\n");
}

TEST_CASE("what is of use is kept where it is there, and nobody insists") {
  if (!IsRoot()) return;
  constexpr int kOfUse[] = {CAP_NET_RAW};
  CHECK(InChild([&] {
          const auto left = DropPrivileges(kKeep, kOfUse);
          return left.ok() ? FormatPrivileges(*left) : left.status().ToString();
        }) == "net_admin net_raw; programs it runs can get no more");
  CHECK(InChild([&] {
          Drop();
          const auto left = DropPrivileges(kKeep, kOfUse);
          return left.ok() ? FormatPrivileges(*left) : left.status().ToString();
        }) == kLeft);
}

TEST_CASE("what has been given up can be given up again") {
  if (!IsRoot()) return;
  CHECK(InChild([] {
          Drop();
          return Drop();
        }) == kLeft);
}

TEST_CASE("another user keeps the right, and hands it on") {
  if (!IsRoot()) return;
  const std::string told = InChild([] {
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (setgid(65534) != 0 || setuid(65534) != 0) return std::string("not another user");
    const std::string left = Drop();
    return absl::StrCat(left, "\n", CapabilitiesOfChild());
  });
  // The bounding set, in the last line, is not narrowed without CAP_SETPCAP in effect.
  CHECK(told.substr(0, told.find('\n', told.find('\n') + 1)) ==
        absl::StrCat(kLeft, "\n0000000000001000"));
}

TEST_CASE("who does not have the right is told what to do") {
  if (!IsRoot()) return;
  CHECK(InChild([] {
          if (setgid(65534) != 0 || setuid(65534) != 0) return std::string("not another user");
          return Drop();
        }) ==
        "PERMISSION_DENIED: this process does not have CAP_NET_ADMIN, which it needs: run it as "
        "root, or give it that (systemd: AmbientCapabilities=CAP_NET_ADMIN; Kubernetes: "
        "securityContext.capabilities.add)");
  CHECK(InChild([] {
          Drop();
          const int more[] = {CAP_NET_ADMIN, CAP_SYS_MODULE, CAP_CHOWN};
          return std::string(DropPrivileges(more).status().message().substr(0, 60));
        }) == "this process does not have CAP_SYS_MODULE CAP_CHOWN, which i");
}

TEST_CASE("nft and settings of the network work with what is left") {
  if (!IsRoot()) return;
  const auto work = [] {
    if (unshare(CLONE_NEWNET) != 0) return std::string("no network namespace");
    if (Drop() != kLeft) return std::string("not dropped");
    std::string text;
    for (const absl::Status& status :
         {RunNft("table inet t { chain c { type nat hook postrouting priority 0; masquerade; }; }"),
          EnsureSysctl({"net.ipv4.ip_forward", "1", ""}),
          EnsureSysctl({"net.ipv4.conf.all.arp_ignore", "1", ""})}) {
      absl::StrAppend(&text, status.ToString(), "\n");
    }
    return text;
  };
  CHECK(InChild(work) == "OK\nOK\nOK\n");
  // Settings of the network ask for the capability, not for root.
  CHECK(InChild([] {
          if (unshare(CLONE_NEWNET) != 0) return std::string("no network namespace");
          prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
          if (setgid(65534) != 0 || setuid(65534) != 0) return std::string("not another user");
          Drop();
          const absl::Status nft = RunNft("add table inet t");
          return absl::StrCat(nft.ToString(), "\n",
                              EnsureSysctl({"net.ipv4.ip_forward", "1", ""}).ToString(), "\n");
        }) == "OK\nOK\n");
}

}  // namespace
}  // namespace fairlead
