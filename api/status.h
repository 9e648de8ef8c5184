/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a domain error to what a gRPC client sees: one table of reasons and errnos to status codes,
 * and the google.rpc.Status with one ErrorInfo that goes into `grpc-status-details-bin`.
 * docs/api.md is its public face. Pure.
 */
#pragma once
#include <grpc/status.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define STATUS_DOMAIN      "coppice"
#define STATUS_DETAILS_MAX 4096
#define STATUS_MESSAGE_MAX 640

/* `e->code` is a negative errno. A reason that is in the table decides; else the errno; else
 * INTERNAL. */
grpc_status_code status_code(const struct err *e);
/* "NOT_FOUND"; never NULL. */
const char *status_name(grpc_status_code code);
/* The text for a person, valid UTF-8, with the wrong field's name before it. */
void status_message(const struct err *e, char *out, size_t cap);
/* Serialised google.rpc.Status, malloc'ed, to the caller. A wrong field becomes metadata "field".
 * -ENOMEM. */
int status_details(const struct err *e, grpc_status_code code, uint8_t **ret_data, size_t *ret_len);
