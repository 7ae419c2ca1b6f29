#include "test/bench/programming_counters.h"

#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "ipvs/kernel_table.h"
#include "test/bench/need.h"

namespace fairlead::bench {
namespace {

constexpr char kCgroups[] = "/sys/fs/cgroup";

// The first words of the map: the cgroup that counts, the network namespace whose IPVS counts (the
// address of its struct net), and the one of the last change of any.
constexpr int kCgroupWord = 0;
constexpr int kNetWord = 1;
constexpr int kSeenWord = 2;
constexpr int kWords = 3;

// Of the second argument of a function in struct pt_regs, arch/x86.
constexpr int kSecondArgument = 104;

// Helpers by number, include/uapi/linux/bpf.h.
constexpr int32_t kProbeReadKernel = 113;
constexpr int32_t kKtimeGetNs = 5;
constexpr int32_t kGetCurrentCgroupId = 80;

long Bpf(int command, bpf_attr& attributes) {
  return syscall(SYS_bpf, command, &attributes, sizeof(attributes));
}

uint64_t Pointer(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

bpf_insn Insn(int code, int to, int from, int offset, int32_t immediate) {
  bpf_insn insn{};
  insn.code = static_cast<uint8_t>(code);
  insn.dst_reg = static_cast<uint8_t>(to) & 0xf;
  insn.src_reg = static_cast<uint8_t>(from) & 0xf;
  insn.off = static_cast<int16_t>(offset);
  insn.imm = immediate;
  return insn;
}

uint64_t InodeOf(const std::string& path) {
  struct stat file = {};
  Need(stat(path.c_str(), &file) == 0, absl::StrCat(path, ": ", std::strerror(errno)));
  return file.st_ino;
}

// Where this process is.
std::string OwnCgroup() {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("0::")) return kCgroups + line.substr(3);
  }
  return kCgroups;
}

// Bytes of what follows a type of BTF, include/uapi/linux/btf.h.
size_t BytesAfter(const btf_type& type) {
  const size_t count = BTF_INFO_VLEN(type.info);
  switch (BTF_INFO_KIND(type.info)) {
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case BTF_KIND_DECL_TAG:
      return 4;
    case BTF_KIND_ARRAY:
      return sizeof(btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      return count * sizeof(btf_member);
    case BTF_KIND_ENUM:
    case BTF_KIND_FUNC_PROTO:
      return count * 8;
    case BTF_KIND_DATASEC:
    case BTF_KIND_ENUM64:
      return count * 12;
    default:
      return 0;
  }
}

// Where a member is in a struct of the running kernel.
int OffsetOf(const std::string& structure, const std::string& member) {
  std::ifstream file("/sys/kernel/btf/vmlinux", std::ios::binary);
  const std::string btf((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  btf_header header;
  Need(btf.size() > sizeof(header), "this kernel does not describe its types (BTF)");
  std::memcpy(&header, btf.data(), sizeof(header));
  const char* const names = btf.data() + header.hdr_len + header.str_off;
  const char* at = btf.data() + header.hdr_len + header.type_off;
  const char* const end = at + header.type_len;
  while (at < end) {
    btf_type type;
    std::memcpy(&type, at, sizeof(type));
    at += sizeof(type);
    if (BTF_INFO_KIND(type.info) == BTF_KIND_STRUCT && structure == names + type.name_off) {
      for (size_t i = 0; i < BTF_INFO_VLEN(type.info); ++i) {
        btf_member found;
        std::memcpy(&found, at + i * sizeof(found), sizeof(found));
        if (member == names + found.name_off) {
          return static_cast<int>(BTF_MEMBER_BIT_OFFSET(found.offset) / 8);
        }
      }
    }
    at += BytesAfter(type);
  }
  throw std::runtime_error(absl::StrCat("this kernel has no ", structure, ".", member));
}

std::string Reason(const std::string& what) {
  return absl::StrCat(what, ": ", std::strerror(errno));
}

// `body` falls or jumps to its end.
int LoadProgram(std::vector<bpf_insn> body, bool tracepoint) {
  body.push_back(Insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0));
  body.push_back(Insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  std::string log(16 << 10, '\0');
  bpf_attr attributes{};
  attributes.prog_type = tracepoint ? BPF_PROG_TYPE_RAW_TRACEPOINT : BPF_PROG_TYPE_KPROBE;
  attributes.insns = Pointer(body.data());
  attributes.insn_cnt = static_cast<uint32_t>(body.size());
  attributes.license = Pointer("GPL");
  attributes.log_buf = Pointer(log.data());
  attributes.log_size = static_cast<uint32_t>(log.size());
  attributes.log_level = 1;
  const int fd = static_cast<int>(Bpf(BPF_PROG_LOAD, attributes));
  Need(fd >= 0, absl::StrCat(Reason("BPF program"), "\n", log.c_str()));
  return fd;
}

}  // namespace

// Each has a slot in the map.
enum KernelCounters::Counter : int {
  kSystemCalls,
  kGeneric,
  kRoute,
  kNetfilter,
  kIpvsWrites,
  kRouteWrites,
  kNftWrites,
  kNftCommits,
  kIpsetWrites,
  kCounters,
};

KernelCounters::KernelCounters(const std::string& name) {
  const std::string control = absl::StrCat(kCgroups, "/cgroup.controllers");
  if (access(control.c_str(), R_OK) != 0) {
    Need(mount("cgroup2", kCgroups, "cgroup2", 0, nullptr) == 0, Reason("mount cgroup2"));
  }
  folder_ = absl::StrCat(kCgroups, "/", name);
  Need(mkdir(folder_.c_str(), 0755) == 0 || errno == EEXIST, Reason(folder_));
  // The id of a cgroup is the number of its folder's inode.
  cgroup_ = InodeOf(folder_);
  net_offset_ = OffsetOf("genl_info", "_net");

  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = sizeof(uint32_t);
  attributes.value_size = kWords * sizeof(uint64_t) + kCounters * sizeof(Slot);
  attributes.max_entries = 1;
  attributes.map_flags = BPF_F_MMAPABLE;
  map_ = static_cast<int>(Bpf(BPF_MAP_CREATE, attributes));
  Need(map_ >= 0, Reason("BPF map"));
  void* memory = mmap(nullptr, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, map_, 0);
  Need(memory != MAP_FAILED, Reason("BPF map in memory"));
  memory_ = static_cast<uint64_t*>(memory);
  memory_[kCgroupWord] = cgroup_;

  bpf_attr tracepoint{};
  tracepoint.raw_tracepoint.name = Pointer("sys_enter");
  tracepoint.raw_tracepoint.prog_fd = Load(kSystemCalls, /*timed=*/false, /*tracepoint=*/true);
  fds_.push_back(static_cast<int>(Bpf(BPF_RAW_TRACEPOINT_OPEN, tracepoint)));
  Need(fds_.back() >= 0, Reason("tracepoint sys_enter"));

  const auto add = [this](Counter counter, const char* function, bool timed = false,
                          bool at_return = false, bool optional = false) {
    Attach(counter, timed, function, at_return, optional);
  };
  // One call for each message, but for those in a batch of nf_tables.
  add(kGeneric, "genl_rcv_msg");
  add(kRoute, "rtnetlink_rcv_msg");
  add(kNetfilter, "nfnetlink_rcv_msg");
  add(kIpvsWrites, "ip_vs_genl_set_cmd", /*timed=*/true);
  for (const char* function : {"inet_rtm_newroute", "inet_rtm_delroute", "inet_rtm_newaddr",
                               "inet_rtm_deladdr", "inet6_rtm_newroute", "inet6_rtm_delroute"}) {
    add(kRouteWrites, function, /*timed=*/true);
  }
  for (const char* object : {"table", "chain", "rule", "set", "setelem", "obj", "flowtable"}) {
    for (const char* verb : {"new", "del"}) {
      add(kNftWrites, absl::StrCat("nf_tables_", verb, object).c_str());
    }
  }
  add(kNftCommits, "nf_tables_commit", /*timed=*/true, /*at_return=*/true);
  for (const char* function : {"ip_set_create", "ip_set_destroy", "ip_set_flush", "ip_set_rename",
                               "ip_set_swap", "ip_set_uadd", "ip_set_udel"}) {
    add(kIpsetWrites, function, /*timed=*/true, /*at_return=*/false, /*optional=*/true);
  }
}

KernelCounters::~KernelCounters() {
  for (const int fd : fds_) close(fd);
  munmap(const_cast<uint64_t*>(memory_), sysconf(_SC_PAGESIZE));
  close(map_);
  rmdir(folder_.c_str());
}

// if (the current cgroup is ours) { old = count++; last = now; if (old == 0) first = now; }
int KernelCounters::Load(Counter counter, bool timed, bool tracepoint) const {
  if (counter == kIpvsWrites) return LoadIpvsWrites();
  const int slot = static_cast<int>(kWords * sizeof(uint64_t) + counter * sizeof(Slot));
  std::vector<bpf_insn> body = {
      Insn(BPF_JMP | BPF_CALL, 0, 0, 0, kGetCurrentCgroupId),
      Insn(BPF_LD | BPF_DW | BPF_IMM, 6, BPF_PSEUDO_MAP_VALUE, 0, map_),
      Insn(0, 0, 0, 0, 0),
      Insn(BPF_LDX | BPF_MEM | BPF_DW, 1, 6, 0, 0),
      Insn(BPF_JMP | BPF_JNE | BPF_X, 0, 1, timed ? 6 : 2, 0),
      Insn(BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, 1),
      Insn(BPF_STX | BPF_ATOMIC | BPF_DW, 6, 7, slot, BPF_ADD | BPF_FETCH),
  };
  if (timed) {
    const int word = sizeof(uint64_t);
    body.push_back(Insn(BPF_JMP | BPF_CALL, 0, 0, 0, kKtimeGetNs));
    body.push_back(Insn(BPF_STX | BPF_MEM | BPF_DW, 6, 0, slot + word, 0));
    body.push_back(Insn(BPF_JMP | BPF_JNE | BPF_K, 7, 0, 1, 0));
    body.push_back(Insn(BPF_STX | BPF_MEM | BPF_DW, 6, 0, slot + 2 * word, 0));
  }
  return LoadProgram(body, tracepoint);
}

// The same, but that the namespace which the message was for, info->_net, has to be the one that
// counts; whichever it is, it is left in the map.
int KernelCounters::LoadIpvsWrites() const {
  const int word = sizeof(uint64_t);
  const int slot = static_cast<int>(kWords * sizeof(uint64_t) + kIpvsWrites * sizeof(Slot));
  return LoadProgram(
      {
          Insn(BPF_LDX | BPF_MEM | BPF_DW, 8, 1, kSecondArgument, 0),
          Insn(BPF_JMP | BPF_CALL, 0, 0, 0, kGetCurrentCgroupId),
          Insn(BPF_LD | BPF_DW | BPF_IMM, 6, BPF_PSEUDO_MAP_VALUE, 0, map_),
          Insn(0, 0, 0, 0, 0),
          Insn(BPF_LDX | BPF_MEM | BPF_DW, 1, 6, kCgroupWord * word, 0),
          Insn(BPF_JMP | BPF_JNE | BPF_X, 0, 1, 15, 0),
          // *seen = info->_net
          Insn(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
          Insn(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, kSeenWord * word),
          Insn(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, word),
          Insn(BPF_ALU64 | BPF_MOV | BPF_X, 3, 8, 0, 0),
          Insn(BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, net_offset_),
          Insn(BPF_JMP | BPF_CALL, 0, 0, 0, kProbeReadKernel),
          Insn(BPF_LDX | BPF_MEM | BPF_DW, 1, 6, kSeenWord * word, 0),
          Insn(BPF_LDX | BPF_MEM | BPF_DW, 2, 6, kNetWord * word, 0),
          Insn(BPF_JMP | BPF_JNE | BPF_X, 1, 2, 6, 0),
          Insn(BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, 1),
          Insn(BPF_STX | BPF_ATOMIC | BPF_DW, 6, 7, slot, BPF_ADD | BPF_FETCH),
          Insn(BPF_JMP | BPF_CALL, 0, 0, 0, kKtimeGetNs),
          Insn(BPF_STX | BPF_MEM | BPF_DW, 6, 0, slot + word, 0),
          Insn(BPF_JMP | BPF_JNE | BPF_K, 7, 0, 1, 0),
          Insn(BPF_STX | BPF_MEM | BPF_DW, 6, 0, slot + 2 * word, 0),
      },
      /*tracepoint=*/false);
}

void KernelCounters::FollowThisNamespace() {
  const auto key = ipvs::VirtualServerKey::ForMark(IpFamily::kIpv4, 1);
  const ipvs::Operation operations[] = {ipvs::Operation::AddVirtualServer(key, {}),
                                        ipvs::Operation::DeleteVirtualServer(key)};
  memory_[kCgroupWord] = InodeOf(OwnCgroup());
  for (const absl::Status& status : Need(ipvs::KernelTable::Open())->Apply(operations)) {
    Need(status);
  }
  memory_[kNetWord] = memory_[kSeenWord];
  memory_[kCgroupWord] = cgroup_;
  Reset();
  Need(memory_[kNetWord] != 0, "the kernel did not say which namespace this is");
}

void KernelCounters::Attach(Counter counter, bool timed, const std::string& function,
                            bool at_return, bool optional) {
  std::ifstream file("/sys/bus/event_source/devices/kprobe/type");
  uint32_t type = 0;
  file >> type;
  Need(type != 0, "this kernel has no kprobes for perf");
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = type;
  attributes.config = at_return ? 1 : 0;
  attributes.config1 = Pointer(function.c_str());
  // A program on a kprobe runs on all processors, whichever its event is of.
  const int event = static_cast<int>(syscall(SYS_perf_event_open, &attributes, /*pid=*/-1,
                                             /*cpu=*/0, /*group=*/-1, PERF_FLAG_FD_CLOEXEC));
  if (event < 0 && optional && errno == ENOENT) return;
  Need(event >= 0, Reason(absl::StrCat("kprobe on ", function)));
  fds_.push_back(event);
  fds_.push_back(Load(counter, timed, /*tracepoint=*/false));
  Need(ioctl(event, PERF_EVENT_IOC_SET_BPF, fds_.back()) == 0 &&
           ioctl(event, PERF_EVENT_IOC_ENABLE, 0) == 0,
       Reason(absl::StrCat("count ", function)));
}

KernelCounters::Slot KernelCounters::Get(Counter counter) const {
  const volatile uint64_t* slot = memory_ + kWords + counter * sizeof(Slot) / sizeof(uint64_t);
  return {.count = slot[0], .last = slot[1], .first = slot[2]};
}

void KernelCounters::Reset() {
  for (size_t i = 0; i < kCounters * sizeof(Slot) / sizeof(uint64_t); ++i) memory_[kWords + i] = 0;
}

KernelCounts KernelCounters::Read() const {
  const auto count = [this](Counter counter) { return static_cast<int64_t>(Get(counter).count); };
  return {.system_calls = count(kSystemCalls),
          .messages = count(kGeneric) + count(kRoute) + count(kNetfilter) + count(kNftWrites),
          .ipvs_writes = count(kIpvsWrites),
          .route_writes = count(kRouteWrites),
          .nft_writes = count(kNftWrites),
          .ipset_writes = count(kIpsetWrites),
          .nft_commits = count(kNftCommits)};
}

absl::Duration KernelCounters::first_write() const {
  absl::Duration first = absl::InfiniteDuration();
  for (const Counter counter : {kIpvsWrites, kRouteWrites, kNftCommits, kIpsetWrites}) {
    const Slot slot = Get(counter);
    if (slot.count != 0) first = std::min(first, absl::Nanoseconds(slot.first));
  }
  return first == absl::InfiniteDuration() ? -first : first;
}

absl::Duration KernelCounters::last_write() const {
  absl::Duration last = -absl::InfiniteDuration();
  for (const Counter counter : {kIpvsWrites, kRouteWrites, kNftCommits, kIpsetWrites}) {
    const Slot slot = Get(counter);
    if (slot.count != 0) last = std::max(last, absl::Nanoseconds(slot.last));
  }
  return last;
}

absl::Duration KernelCounters::Cpu() const {
  std::ifstream file(folder_ + "/cpu.stat");
  std::string key;
  int64_t value = 0;
  while (file >> key >> value) {
    if (key == "usage_usec") return absl::Microseconds(value);
  }
  throw std::runtime_error(absl::StrCat(folder_, "/cpu.stat has no usage_usec"));
}

absl::Duration KernelCounters::Monotonic() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

}  // namespace fairlead::bench
