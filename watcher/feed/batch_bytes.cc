#include "watcher/feed/batch_bytes.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

namespace fairlead {
namespace {

using google::protobuf::internal::WireFormatLite;

// Tag of a field that holds a message, and the message's length.
std::string MessageHeader(int field_number, size_t length) {
  std::string header;
  {
    google::protobuf::io::StringOutputStream stream(&header);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.WriteTag(WireFormatLite::MakeTag(field_number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
    out.WriteVarint32(static_cast<uint32_t>(length));
  }
  return header;
}

// The slice holds a share of the element until gRPC has sent it.
grpc::Slice SliceOf(const BatchElement& element) {
  auto* share = new BatchElement(element);
  return grpc::Slice(
      const_cast<char*>(element->data()), element->size(),
      [](void* held) { delete static_cast<BatchElement*>(held); }, share);
}

}  // namespace

BatchElement SerializeElement(const v1::Change& change) {
  std::string bytes = MessageHeader(v1::Batch::kChangesFieldNumber, change.ByteSizeLong());
  change.AppendToString(&bytes);
  return std::make_shared<const std::string>(std::move(bytes));
}

grpc::ByteBuffer JoinBatch(const std::vector<BatchElement>& elements) {
  size_t length = 0;
  for (const BatchElement& element : elements) length += element->size();
  std::vector<grpc::Slice> slices;
  slices.reserve(elements.size() + 1);
  slices.emplace_back(MessageHeader(v1::SubscribeResponse::kBatchFieldNumber, length));
  for (const BatchElement& element : elements) slices.push_back(SliceOf(element));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::ByteBuffer SerializeResponse(const v1::SubscribeResponse& response) {
  const grpc::Slice slice(response.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace fairlead
