// Batches put together from changes that were serialised once, for all subscribers.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/v1/feed.pb.h"

namespace fairlead {

// A change serialised as an element of Batch.changes, tag and length included. Elements one after
// the other are a Batch. Immutable and shared.
using BatchElement = std::shared_ptr<const std::string>;

BatchElement SerializeElement(const v1::Change& change);

// With a batch the picture is that of a revision (feed.proto, Batch).
struct CompleteMark {
  uint64_t revision = 0;
  bool partial = false;
};

// A SubscribeResponse that holds the elements as its Batch, with the complete mark if there is one.
// One piece of memory, which copies of the buffer share.
grpc::ByteBuffer JoinBatch(const std::vector<BatchElement>& elements,
                           std::optional<CompleteMark> mark);

// Any other response.
grpc::ByteBuffer SerializeResponse(const v1::SubscribeResponse& response);

}  // namespace fairlead
