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

}  // namespace

BatchElement SerializeElement(const v1::Change& change) {
  std::string bytes = MessageHeader(v1::Batch::kChangesFieldNumber, change.ByteSizeLong());
  change.AppendToString(&bytes);
  return std::make_shared<const std::string>(std::move(bytes));
}

grpc::ByteBuffer JoinBatch(const std::vector<BatchElement>& elements,
                           std::optional<CompleteMark> mark) {
  // Fields of one message may be put one after the other.
  v1::Batch rest;
  if (mark) {
    rest.set_complete_revision(mark->revision);
    rest.set_partial(mark->partial);
  }
  const std::string rest_bytes = rest.SerializeAsString();
  size_t length = rest_bytes.size();
  for (const BatchElement& element : elements) length += element->size();
  std::string bytes = MessageHeader(v1::SubscribeResponse::kBatchFieldNumber, length);
  bytes.reserve(bytes.size() + length);
  for (const BatchElement& element : elements) bytes += *element;
  bytes += rest_bytes;
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer SerializeResponse(const v1::SubscribeResponse& response) {
  const grpc::Slice slice(response.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace fairlead
