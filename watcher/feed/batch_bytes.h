// Batches put together from changes that were serialised once, for all subscribers.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>
#include <vector>

#include "fairlead/v1/feed.pb.h"

namespace fairlead {

// A change serialised as an element of Batch.changes, tag and length included. Elements one after
// the other are a Batch. Immutable and shared.
using BatchElement = std::shared_ptr<const std::string>;

BatchElement SerializeElement(const v1::Change& change);

// A SubscribeResponse that holds the elements as its Batch. Refers to them, copies nothing.
grpc::ByteBuffer JoinBatch(const std::vector<BatchElement>& elements);

// Any other response.
grpc::ByteBuffer SerializeResponse(const v1::SubscribeResponse& response);

}  // namespace fairlead
