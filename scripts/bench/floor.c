// What any module command costs that is sent the words of ours, opens the keys and replies as ours
// do, but decides nothing:
//
//   FLOOR.TAKE key word ...                  as RL.TAKE
//   FLOOR.MTAKE numkeys key rate burst ...   as RL.MTAKE
//   FLOOR.WRITE numkeys key rate burst ...   the same, and writes 16 bytes and an expiry to each
#include <stdlib.h>
#include <string.h>

typedef struct Context Context;
typedef struct String String;
typedef struct Key Key;
typedef int (*Command)(Context *, String **, int);

static void (*SetModuleAttribs)(Context *, const char *, int, int);
static int (*CreateCommand)(Context *, const char *, Command, const char *, int, int, int);
static Key *(*OpenKey)(Context *, String *, int);
static void (*CloseKey)(Key *);
static char *(*StringDMA)(Key *, size_t *, int);
static int (*SetAbsExpire)(Key *, long long);
static int (*SignalModifiedKey)(Context *, String *);
static void (*SetModuleOptions)(Context *, int);
static const char *(*StringPtrLen)(String *, size_t *);
static int (*ReplyWithArray)(Context *, long);
static int (*ReplyWithLongLong)(Context *, long long);

enum { READ_WRITE = 3, INTEGERS = 5, STEP = 3, NO_IMPLICIT_SIGNAL_MODIFIED = 2 };

static void five(Context *context) {
  // As long as the integers of a bucket that is half full.
  static const long long integers[INTEGERS] = {1, 200, 99, 0, 3636000};
  ReplyWithArray(context, INTEGERS);
  for (int n = 0; n < INTEGERS; n++) ReplyWithLongLong(context, integers[n]);
}

static int take(Context *context, String **argv, int argc) {
  (void)argc;
  CloseKey(OpenKey(context, argv[1], READ_WRITE));
  five(context);
  return 0;
}

static int several(Context *context, String **argv, int writes) {
  size_t length;
  int count = atoi(StringPtrLen(argv[1], &length));
  for (int n = 0; n < count; n++) {
    String *name = argv[2 + STEP * n];
    Key *key = OpenKey(context, name, READ_WRITE);
    if (writes) {
      memcpy(StringDMA(key, &length, READ_WRITE), "sixteen letters.", 16);
      SetAbsExpire(key, 4000000000000);
      SignalModifiedKey(context, name);
    }
    CloseKey(key);
  }
  ReplyWithArray(context, 3);
  ReplyWithLongLong(context, 1);
  ReplyWithLongLong(context, 0);
  ReplyWithArray(context, count);
  for (int n = 0; n < count; n++) five(context);
  return 0;
}

static int mtake(Context *context, String **argv, int argc) {
  (void)argc;
  return several(context, argv, 0);
}

static int mwrite(Context *context, String **argv, int argc) {
  (void)argc;
  return several(context, argv, 1);
}

int RedisModule_OnLoad(Context *context, String **argv, int argc) {
  (void)argv, (void)argc;
  // What the server calls a context begins with the way to everything else.
  int (*find)(const char *, void *) = ((void **)context)[0];
#define FIND(name) find("RedisModule_" #name, (void *)&name)
  FIND(SetModuleAttribs), FIND(CreateCommand), FIND(OpenKey), FIND(CloseKey), FIND(StringDMA);
  FIND(SetAbsExpire), FIND(SignalModifiedKey), FIND(SetModuleOptions), FIND(StringPtrLen);
  FIND(ReplyWithArray), FIND(ReplyWithLongLong);
  SetModuleAttribs(context, "floor", 1, 1);
  SetModuleOptions(context, NO_IMPLICIT_SIGNAL_MODIFIED);
  return CreateCommand(context, "floor.take", take, "write", 1, 1, 1) |
         CreateCommand(context, "floor.mtake", mtake, "write", 2, 2, 1) |
         CreateCommand(context, "floor.write", mwrite, "write", 2, 2, 1);
}
