#define _GNU_SOURCE
#include "nft_generation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
    struct nlmsghdr header;
    struct nfgenmsg body;
};

static int find_generation(const struct nlmsghdr *answer, size_t length, uint32_t *generation) {
    if (!NLMSG_OK(answer, length)) return -EBADMSG;
    if (answer->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *refusal = NLMSG_DATA(answer);
        if (answer->nlmsg_len < NLMSG_LENGTH(sizeof *refusal) || refusal->error >= 0) return -EBADMSG;
        return refusal->error;
    }
    size_t offset = NLMSG_SPACE(sizeof(struct nfgenmsg));
    while (offset + NLA_HDRLEN <= answer->nlmsg_len) {
        const struct nlattr *attribute = (const struct nlattr *)((const char *)answer + offset);
        if (attribute->nla_len < NLA_HDRLEN || offset + attribute->nla_len > answer->nlmsg_len) break;
        if ((attribute->nla_type & NLA_TYPE_MASK) == NFTA_GEN_ID && attribute->nla_len >= NLA_HDRLEN + sizeof(uint32_t)) {
            uint32_t value;
            memcpy(&value, (const char *)attribute + NLA_HDRLEN, sizeof value);
            *generation = ntohl(value);
            return 0;
        }
        offset += NLA_ALIGN(attribute->nla_len);
    }
    return -EBADMSG;
}

static int ask(int kernel, uint32_t *generation) {
    struct request request = {
        .header = {
            .nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
            .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
            .nlmsg_flags = NLM_F_REQUEST,
        },
        .body = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0},
    };
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    if (sendto(kernel, &request, sizeof request, 0, (struct sockaddr *)&address, sizeof address) < 0) return -errno;
    char answer[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
    // The kernel answers within the call above; nothing is there to wait for.
    ssize_t length = recv(kernel, answer, sizeof answer, MSG_DONTWAIT);
    return length < 0 ? -errno : find_generation((const struct nlmsghdr *)answer, (size_t)length, generation);
}

int fst_nft_generation(uint32_t *generation) {
    int kernel = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (kernel < 0) return -errno;
    int status = ask(kernel, generation);
    close(kernel);
    return status;
}
