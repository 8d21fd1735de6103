// The calls to MPI that the mpi transport makes, as a table. A library of its own (src/comm/mpi) is linked to MPI and
// holds the table; it is loaded where a launcher has started ranks, so that one rank runs where MPI is not installed.
#pragma once

#define OMPI_SKIP_MPICXX 1  // no C++ classes
#include <mpi.h>

namespace switchyard::comm {

struct MpiCalls {
  MPI_Comm comm_world, comm_null;
  MPI_Datatype byte, integer;
  MPI_Info info_null;
  MPI_Errhandler errors_return;
  decltype(&MPI_Init_thread) init_thread;
  decltype(&MPI_Finalize) finalize;
  decltype(&MPI_Abort) abort;
  decltype(&MPI_Error_string) error_string;
  decltype(&MPI_Comm_rank) comm_rank;
  decltype(&MPI_Comm_size) comm_size;
  decltype(&MPI_Comm_group) comm_group;
  decltype(&MPI_Comm_create_group) comm_create_group;
  decltype(&MPI_Comm_split_type) comm_split_type;
  decltype(&MPI_Comm_get_attr) comm_get_attr;
  decltype(&MPI_Comm_set_errhandler) comm_set_errhandler;
  decltype(&MPI_Comm_free) comm_free;
  decltype(&MPI_Group_incl) group_incl;
  decltype(&MPI_Group_free) group_free;
  decltype(&MPI_Isend) isend;
  decltype(&MPI_Irecv) irecv;
  decltype(&MPI_Testall) testall;
  decltype(&MPI_Request_get_status) request_get_status;
  decltype(&MPI_Get_count) get_count;
  decltype(&MPI_Bcast) bcast;
  decltype(&MPI_Allgather) allgather;
};

inline constexpr const char* kMpiLibrary = "libswitchyard_mpi.so";
inline constexpr const char* kMpiTable = "switchyard_mpi_calls";  // the table's name in it

}  // namespace switchyard::comm
