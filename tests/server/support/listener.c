// A module that listens as others do: it keeps the events of modules that it is told of. When a key
// expires it deletes the key "A", and after a take from "taker" the keys "before" and "behind".
// With an argument it takes from these three while it is loaded.

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct Context Context;
typedef struct String String;
typedef struct CallReply CallReply;
typedef int (*Command)(Context *, String **, int);
typedef int (*Listener)(Context *, int, const char *, String *);

static void (*SetModuleAttribs)(Context *, const char *, int, int);
static int (*CreateCommand)(Context *, const char *, Command, const char *, int, int, int);
static int (*Subscribe)(Context *, int, Listener);
static CallReply *(*Call)(Context *, const char *, const char *, ...);
static void (*FreeCallReply)(CallReply *);
static int (*ReplyWithStringBuffer)(Context *, const char *, size_t);
static const char *(*StringPtrLen)(const String *, size_t *);

enum { EXPIRED = 1 << 8, OF_MODULES = 1 << 13 };

static char heard[4096];

static int on_expired(Context *context, int type, const char *event, String *key) {
  (void)type, (void)event, (void)key;
  CallReply *reply = Call(context, "DEL", "c", "A");
  if (reply) FreeCallReply(reply);
  return 0;
}

static int on_event(Context *context, int type, const char *event, String *key) {
  (void)context, (void)type;
  size_t length, used = strlen(heard);
  const char *name = StringPtrLen(key, &length);
  snprintf(heard + used, sizeof heard - used, "%s %.*s\n", event, (int)length, name);
  if (!strcmp(event, "rl.take") && length == 5 && !memcmp(name, "taker", 5)) {
    CallReply *reply = Call(context, "DEL", "cc", "before", "behind");
    if (reply) FreeCallReply(reply);
  }
  return 0;
}

// LISTENER.HEARD: a line for each event since the last call.
static int tell(Context *context, String **argv, int argc) {
  (void)argv, (void)argc;
  int status = ReplyWithStringBuffer(context, heard, strlen(heard));
  heard[0] = 0;
  return status;
}

int RedisModule_OnLoad(Context *context, String **argv, int argc) {
  (void)argv;
  // What the server calls a context begins with the way to everything else.
  int (*find)(const char *, void *) = ((void **)context)[0];
#define FIND(name) find("RedisModule_" #name, (void *)&name)
  FIND(SetModuleAttribs), FIND(CreateCommand), FIND(Call), FIND(FreeCallReply);
  FIND(ReplyWithStringBuffer), FIND(StringPtrLen);
  find("RedisModule_SubscribeToKeyspaceEvents", (void *)&Subscribe);
  SetModuleAttribs(context, "listener", 1, 1);
  if (CreateCommand(context, "listener.heard", tell, "readonly", 0, 0, 0)) return 1;
  if (Subscribe(context, EXPIRED, on_expired) || Subscribe(context, OF_MODULES, on_event)) return 1;
  if (argc > 0) {
    CallReply *reply = Call(context, "RL.MTAKE", "cccccccccc", "3", "before", "1/d", "9", "taker",
                            "1/d", "9", "behind", "1/d", "9");
    if (reply) FreeCallReply(reply);
  }
  return 0;
}
