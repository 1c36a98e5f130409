#include "resource.h"

#include <algorithm>
#include <utility>

namespace zo2::binding {

Resource::Resource(std::shared_ptr<ResourceTable> table, Kind kind, void* raw)
    : kind(kind), table_(std::move(table)), raw_(raw) {
  table_->add(this);
}

Resource::~Resource() { table_->remove(this); }

void ResourceTable::add(Resource* resource) {
  std::lock_guard lock(mutex_);
  live_.insert(resource);
}

void ResourceTable::remove(Resource* resource) {
  {
    std::lock_guard lock(mutex_);
    live_.erase(resource);
    if (resource->raw_ == nullptr || finished_) return;
    abandoned_.push_back({resource->kind, resource->raw_});
    // Called under the lock: `finished_` is set, and the context goes away, only after a lock taken by destroy_all.
    on_abandoned_(context_);
  }
}

void ResourceTable::destroy(const Abandoned& object) const {
  switch (object.kind) {
    case Kind::kStream:
      return backend_->stream_destroy(static_cast<zo2_stream*>(object.raw));
    case Kind::kEvent:
      return backend_->event_destroy(static_cast<zo2_event*>(object.raw));
    case Kind::kGate:
      return backend_->gate_destroy(static_cast<zo2_gate*>(object.raw));
    case Kind::kBuffer:
      return backend_->buffer_destroy(static_cast<zo2_buffer*>(object.raw));
    case Kind::kLayout:
      return backend_->layout_destroy(static_cast<zo2_layout*>(object.raw));
    case Kind::kProgram:
      return backend_->program_destroy(static_cast<zo2_program*>(object.raw));
    case Kind::kDevice:
      return;
  }
}

std::vector<ResourceTable::Abandoned> ResourceTable::take(bool streams_only) {
  std::lock_guard lock(mutex_);
  std::vector<Abandoned> taken;
  std::vector<Abandoned> kept;
  for (const Abandoned& object : abandoned_)
    (!streams_only || object.kind == Kind::kStream ? taken : kept).push_back(object);
  abandoned_ = std::move(kept);
  for (Resource* resource : live_) {
    if (resource->raw_ == nullptr || (streams_only && resource->kind != Kind::kStream)) continue;
    taken.push_back({resource->kind, std::exchange(resource->raw_, nullptr)});
  }
  if (!streams_only) finished_ = true;
  return taken;
}

void ResourceTable::sweep() {
  std::vector<Abandoned> taken;
  {
    std::lock_guard lock(mutex_);
    taken.swap(abandoned_);
  }
  // Freeing memory may wait for every stream: what may hold one goes first.
  const auto holds = [](const Abandoned& object) { return object.kind == Kind::kStream || object.kind == Kind::kGate; };
  std::stable_partition(taken.begin(), taken.end(), holds);
  for (const Abandoned& object : taken) destroy(object);
}

void ResourceTable::open_gates() {
  std::lock_guard lock(mutex_);
  const auto open = [this](Kind kind, void* raw) {
    if (kind == Kind::kGate && raw != nullptr) backend_->gate_open(static_cast<zo2_gate*>(raw));
  };
  for (const Resource* resource : live_) open(resource->kind, resource->raw_);
  for (const Abandoned& object : abandoned_) open(object.kind, object.raw);
}

void ResourceTable::destroy_streams() {
  for (const Abandoned& object : take(true)) destroy(object);
}

void ResourceTable::destroy_all() {
  for (const Abandoned& object : take(false)) destroy(object);
}

}  // namespace zo2::binding
