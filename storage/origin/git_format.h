/* SPDX-License-Identifier: Apache-2.0 */
/* May libgit2 open this repository? Asked before it is opened, as libgit2 1.5 loses 20 KiB for each
 * line of the configuration of a repository of format 1, each time it looks at one (its regular
 * expressions forget what does not match): a tenant could fill the memory by asking. One that can
 * be opened still loses that for each handle. A `.git` that is a file is not followed. */
#pragma once

/* `path`: a repository, bare or with `.git` in it. 0, or a code of libgit2 with its message set, as
 * opening would give. What is no repository gives 0: opening it tells. */
int git_format_check(const char *path);
