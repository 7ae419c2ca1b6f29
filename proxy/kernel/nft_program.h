// The program `nft`, which turns text into chains and sets.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace fairlead {

// After which `nft` is killed. It takes some milliseconds, or a second where the node has large
// rulesets of others, which it reads.
inline constexpr absl::Duration kNftTimeout = absl::Seconds(60);

// Runs `nft -f -` with `text` as its input, in the network namespace of the calling thread, and
// waits for its end; no shell. FAILED_PRECONDITION: the program is missing, or refused the text (it
// changed nothing then), with what it said; DEADLINE_EXCEEDED: killed. Thread-safe.
absl::Status RunNft(absl::string_view text, const std::string& program = "nft",
                    absl::Duration timeout = kNftTimeout);

}  // namespace fairlead
