/* Another module beside ours. The server hands its API over by name, so no header is needed. */
#include <stdint.h>
#include <stddef.h>
#include <time.h>

typedef struct Ctx Ctx;
typedef struct String String;
typedef struct Reply Reply;
typedef struct User User;
typedef int (*Command)(Ctx *, String **, int);

static int (*get_api)(const char *, void *);
static void (*set_module_attribs)(Ctx *, const char *, int, int);
static int (*create_command)(Ctx *, const char *, Command, const char *, int, int, int);
static const char *(*string_ptr_len)(const String *, size_t *);
static int (*string_to_longlong)(const String *, long long *);
static Reply *(*call)(Ctx *, const char *, const char *, ...);
static int (*call_reply_type)(Reply *);
static void (*free_call_reply)(Reply *);
static int (*reply_with_call_reply)(Ctx *, Reply *);
static int (*reply_with_longlong)(Ctx *, long long);
static int (*reply_with_error)(Ctx *, const char *);
static void (*yield)(Ctx *, int, const char *);
static User *(*create_user)(const char *);
static int (*set_user_acl)(User *, const char *);
static int (*authenticate)(Ctx *, User *, void *, void *, uint64_t *);
static void *(*block_client)(Ctx *, Command, Command, void (*)(Ctx *, void *), long long);

enum { OK = 0, ERR = 1, REPLY_ERROR = 1, YIELD_TO_CLIENTS = 1 << 1 };

static int call_and_reply(Ctx *ctx, const char *format, String **argv, int argc) {
    if (argc < 2) return reply_with_error(ctx, "ERR give command [arg ...]");
    Reply *reply = call(ctx, string_ptr_len(argv[1], NULL), format, argv + 2, (size_t)(argc - 2));
    if (reply == NULL) return reply_with_error(ctx, "ERR the server would not call it");
    reply_with_call_reply(ctx, reply);
    free_call_reply(reply);
    return OK;
}

/* OTHER.CALL command [arg ...]: calls it as modules do by default, for no user. */
static int other_call(Ctx *ctx, String **argv, int argc) {
    return call_and_reply(ctx, "vE", argv, argc);
}

/* OTHER.CALLAS command [arg ...]: calls it for the caller's user. */
static int other_callas(Ctx *ctx, String **argv, int argc) {
    return call_and_reply(ctx, "vEC", argv, argc);
}

/* OTHER.BECOME name [rule ...]: the caller is from now on a user of this module's own, of this name, with these rules. */
static int other_become(Ctx *ctx, String **argv, int argc) {
    if (argc < 2) return reply_with_error(ctx, "ERR OTHER.BECOME name [rule ...]");
    User *user = create_user(string_ptr_len(argv[1], NULL));
    for (int i = 2; i < argc; i++) set_user_acl(user, string_ptr_len(argv[i], NULL));
    return reply_with_longlong(ctx, authenticate(ctx, user, NULL, NULL, NULL) == OK);
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* OTHER.YIELD ms key: lets the server handle events for so long; how often its user could then read the key. */
static int other_yield(Ctx *ctx, String **argv, int argc) {
    long long ms, reads = 0;
    if (argc != 3 || string_to_longlong(argv[1], &ms) != OK) return reply_with_error(ctx, "ERR OTHER.YIELD ms key");
    for (long long end = now_ms() + ms; now_ms() < end;) {
        yield(ctx, YIELD_TO_CLIENTS, "busy");
        Reply *reply = call(ctx, "GET", "sCE", argv[2]);
        if (reply == NULL) continue;
        reads += call_reply_type(reply) != REPLY_ERROR;
        free_call_reply(reply);
    }
    return reply_with_longlong(ctx, reads);
}

static int late(Ctx *ctx, String **argv, int argc) {
    (void)argv;
    (void)argc;
    return reply_with_longlong(ctx, 0);
}

/* OTHER.BLOCK ms: blocks its client for so long, as commands do that other threads execute. */
static int other_block(Ctx *ctx, String **argv, int argc) {
    long long ms;
    if (argc != 2 || string_to_longlong(argv[1], &ms) != OK) return reply_with_error(ctx, "ERR OTHER.BLOCK ms");
    block_client(ctx, NULL, late, NULL, ms);
    return OK;
}

int RedisModule_OnLoad(Ctx *ctx, String **argv, int argc) {
    get_api = *(int (**)(const char *, void *))ctx;
    get_api("RedisModule_SetModuleAttribs", &set_module_attribs);
    get_api("RedisModule_CreateCommand", &create_command);
    get_api("RedisModule_StringPtrLen", &string_ptr_len);
    get_api("RedisModule_StringToLongLong", &string_to_longlong);
    get_api("RedisModule_Call", &call);
    get_api("RedisModule_CallReplyType", &call_reply_type);
    get_api("RedisModule_FreeCallReply", &free_call_reply);
    get_api("RedisModule_ReplyWithCallReply", &reply_with_call_reply);
    get_api("RedisModule_ReplyWithLongLong", &reply_with_longlong);
    get_api("RedisModule_ReplyWithError", &reply_with_error);
    get_api("RedisModule_Yield", &yield);
    get_api("RedisModule_CreateModuleUser", &create_user);
    get_api("RedisModule_SetModuleUserACL", &set_user_acl);
    get_api("RedisModule_AuthenticateClientWithUser", &authenticate);
    get_api("RedisModule_BlockClient", &block_client);
    set_module_attribs(ctx, "other", 1, 1);
    if (create_command(ctx, "other.call", other_call, "", 0, 0, 0) != OK) return ERR;
    if (create_command(ctx, "other.callas", other_callas, "", 0, 0, 0) != OK) return ERR;
    if (create_command(ctx, "other.become", other_become, "no-auth", 0, 0, 0) != OK) return ERR;
    if (create_command(ctx, "other.block", other_block, "", 0, 0, 0) != OK) return ERR;
    /* Commands of these names, for whoever wants them taken. */
    for (int i = 0; i < argc; i++)
        if (create_command(ctx, string_ptr_len(argv[i], NULL), late, "", 0, 0, 0) != OK) return ERR;
    return create_command(ctx, "other.yield", other_yield, "", 0, 0, 0);
}
