// A profiler that writes down the names of ranges, one a line, to the file NVTX_LISTENER_FILE: "+" as one is pushed,
// "-" as one is popped, ">" as one starts, "<" as one ends; the rank's number is added to the file's name. NVTX loads
// it where NVTX_INJECTION64_PATH names it.
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

std::FILE* file = nullptr;

int push(const char* name) {  // returns what Nsight Systems does
  std::fprintf(file, "+%s\n", name);
  return -1;
}
int pop() {
  std::fprintf(file, "-\n");
  return -1;
}
nvtxRangeId_t start(const char* name) {
  static nvtxRangeId_t count = 0;
  std::fprintf(file, ">%s\n", name);
  return ++count;
}
void end(nvtxRangeId_t) { std::fprintf(file, "<\n"); }
nvtxDomainHandle_t make_domain(const char*) { return reinterpret_cast<nvtxDomainHandle_t>(file); }
void destroy_domain(nvtxDomainHandle_t) {}

template <class Function>
void replace(NvtxFunctionTable table, unsigned int size, unsigned int number, Function function) {
  if (number < size && table[number] != nullptr) *table[number] = reinterpret_cast<NvtxFunctionPointer>(function);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get) {
  const char* path = std::getenv("NVTX_LISTENER_FILE");
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr, of_domains = nullptr;
  unsigned int size = 0, domains_size = 0;
  if (path == nullptr || callbacks == nullptr ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size) == 0 ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &of_domains, &domains_size) == 0)
    return 0;
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  file = std::fopen((std::string(path) + (rank == nullptr ? "0" : rank)).c_str(), "w");
  if (file == nullptr) return 0;
  replace(table, size, NVTX_CBID_CORE_RangePushA, push);
  replace(table, size, NVTX_CBID_CORE_RangePop, pop);
  replace(table, size, NVTX_CBID_CORE_RangeStartA, start);
  replace(table, size, NVTX_CBID_CORE_RangeEnd, end);
  replace(of_domains, domains_size, NVTX_CBID_CORE2_DomainCreateA, make_domain);
  replace(of_domains, domains_size, NVTX_CBID_CORE2_DomainDestroy, destroy_domain);
  return 1;
}
