#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "contract/zo2.h"
#include "type_tags.h"

namespace zo2::binding {

class ResourceTable;

// An object of a backend, shared by its JavaScript handle and by the command lists and conversions that use it. Destroy
// functions of the contract may join a thread or return gigabytes, so the last reference, wherever it goes, only hands
// the object to the table; the device's submitter thread destroys it.
class Resource {
 public:
  Resource(std::shared_ptr<ResourceTable> table, Kind kind, void* raw);
  ~Resource();
  Resource(const Resource&) = delete;
  Resource& operator=(const Resource&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(raw_);
  }

  const Kind kind;
  const ResourceTable* table() const { return table_.get(); }  // says which device this belongs to

  // Buffers only.
  uint64_t bytes = 0;
  zo2_buffer_kind buffer_kind = ZO2_BUFFER_DEVICE;
  unsigned char* host_pointer = nullptr;

 private:
  friend class ResourceTable;
  const std::shared_ptr<ResourceTable> table_;
  void* raw_;
};

// All objects of one device: those in use, and those whose last reference has gone.
class ResourceTable {
 public:
  // `on_abandoned` is called, from any thread, when there is something to sweep.
  ResourceTable(const zo2_backend* backend, void (*on_abandoned)(void* context), void* context)
      : backend_(backend), on_abandoned_(on_abandoned), context_(context) {}

  // Submitter thread: destroys what nobody refers to any more.
  void sweep();
  // No stream stays before a gate that nobody will open: for the end of an environment.
  void open_gates();
  // Submitter thread, once, when nothing can reach the device any more: destroys streams first (which cancels their
  // commands, so that nothing uses an event or a buffer afterwards), then everything else. References that remain are
  // empty shells.
  void destroy_streams();
  void destroy_all();

 private:
  friend class Resource;
  struct Abandoned {
    Kind kind;
    void* raw;
  };
  void add(Resource* resource);
  void remove(Resource* resource);
  void destroy(const Abandoned& object) const;
  std::vector<Abandoned> take(bool streams_only);

  const zo2_backend* const backend_;
  void (*const on_abandoned_)(void*);
  void* const context_;
  std::mutex mutex_;
  std::unordered_set<Resource*> live_;
  std::vector<Abandoned> abandoned_;
  bool finished_ = false;
};

}  // namespace zo2::binding
