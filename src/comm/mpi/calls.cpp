// All that is linked to MPI.
#include "comm/mpi_calls.h"

extern "C" const switchyard::comm::MpiCalls switchyard_mpi_calls;

const switchyard::comm::MpiCalls switchyard_mpi_calls{
    .comm_world = MPI_COMM_WORLD,
    .comm_null = MPI_COMM_NULL,
    .byte = MPI_BYTE,
    .integer = MPI_INT,
    .info_null = MPI_INFO_NULL,
    .errors_return = MPI_ERRORS_RETURN,
    .init_thread = MPI_Init_thread,
    .finalize = MPI_Finalize,
    .abort = MPI_Abort,
    .error_string = MPI_Error_string,
    .comm_rank = MPI_Comm_rank,
    .comm_size = MPI_Comm_size,
    .comm_group = MPI_Comm_group,
    .comm_create_group = MPI_Comm_create_group,
    .comm_split_type = MPI_Comm_split_type,
    .comm_get_attr = MPI_Comm_get_attr,
    .comm_set_errhandler = MPI_Comm_set_errhandler,
    .comm_free = MPI_Comm_free,
    .group_incl = MPI_Group_incl,
    .group_free = MPI_Group_free,
    .isend = MPI_Isend,
    .irecv = MPI_Irecv,
    .testall = MPI_Testall,
    .request_get_status = MPI_Request_get_status,
    .get_count = MPI_Get_count,
    .bcast = MPI_Bcast,
    .allgather = MPI_Allgather,
};
