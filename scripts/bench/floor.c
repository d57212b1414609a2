// What any module command on several keys costs: FLOOR key [key ...] opens and closes each, and
// replies as RL.MTAKE does. It decides and writes nothing.

typedef struct Context Context;
typedef struct String String;
typedef struct Key Key;
typedef int (*Command)(Context *, String **, int);

static void (*SetModuleAttribs)(Context *, const char *, int, int);
static int (*CreateCommand)(Context *, const char *, Command, const char *, int, int, int);
static Key *(*OpenKey)(Context *, String *, int);
static void (*CloseKey)(Key *);
static int (*ReplyWithArray)(Context *, long);
static int (*ReplyWithLongLong)(Context *, long long);

enum { READ_WRITE = 3, INTEGERS = 5 };

static int command(Context *context, String **argv, int argc) {
  for (int at = 1; at < argc; at++) CloseKey(OpenKey(context, argv[at], READ_WRITE));
  ReplyWithArray(context, 3);
  ReplyWithLongLong(context, 1);
  ReplyWithLongLong(context, 0);
  ReplyWithArray(context, argc - 1);
  for (int at = 1; at < argc; at++) {
    // As long as the integers of a bucket that is half full.
    static const long long integers[INTEGERS] = {1, 200, 99, 0, 3636000};
    ReplyWithArray(context, INTEGERS);
    for (int n = 0; n < INTEGERS; n++) ReplyWithLongLong(context, integers[n]);
  }
  return 0;
}

int RedisModule_OnLoad(Context *context, String **argv, int argc) {
  (void)argv, (void)argc;
  // What the server calls a context begins with the way to everything else.
  int (*find)(const char *, void *) = ((void **)context)[0];
#define FIND(name) find("RedisModule_" #name, (void *)&name)
  FIND(SetModuleAttribs), FIND(CreateCommand), FIND(OpenKey), FIND(CloseKey);
  FIND(ReplyWithArray), FIND(ReplyWithLongLong);
  SetModuleAttribs(context, "floor", 1, 1);
  return CreateCommand(context, "floor", command, "write", 1, -1, 1);
}
