"""Small WfSpecs, each with a tangle of rules in it, for searches and random commands.

Each is a document as people write it: definitions and one WfSpec named `small`. Its ExternalEventDefs, tasks and
threads have names of one letter or word, so that a path through it is easy to read. Three common ThreadSpecs have a
short form: `nodes: wait for EVENT`, `nodes: work` (one task) and `nodes: pass` (nothing).
"""

from copy import deepcopy
from functools import cache
from typing import Any, Final

import yaml

_TEXTS: Final = {
    "wait": """
        external_events: {i: {}, go: {}, done: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes: wait for go
          h: {nodes: wait for done}
        """,
    "task-and-child": """
        external_events: {i: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: work}
              work: {kind: TASK, task: t, next: join, on_failure: [{catch: ERROR, handler: f}]}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: spawn}], next: end}
              end: {kind: EXIT}
          c: {nodes: work}
          h: {nodes: work}
          f: {nodes: wait for go}
        """,
    "parent-and-child-interruptible": """
        external_events: {i: {}, j: {}, go: {}, x: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: spawn}], next: end}
              end: {kind: EXIT}
          c:
            interrupts: [{event: j, handler: g}]
            nodes: wait for go
          h: {nodes: wait for x}
          g: {nodes: wait for x}
        """,
    "nested-handlers": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes: wait for go
          h:
            interrupts: [{event: j, handler: g}]
            nodes: work
          g: {nodes: work}
        """,
    "own-handler": """
        external_events: {i: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: main}]
            nodes: work
        """,
    "failure-handler-and-interrupt": """
        external_events: {i: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: wait, on_failure: [{handler: f}]}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
          h: {nodes: work}
          f: {nodes: work}
        """,
    "serial-and-latest": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h, policy: serial}, {event: j, handler: h, policy: latest}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
          h: {nodes: work}
        """,
    "beside": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h, halt: false}, {event: j, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
          h: {nodes: work}
        """,
    "exit-with-children": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: c, next: two}
              two: {kind: START_THREAD, thread: c, next: end}
              end: {kind: EXIT}
          c:
            interrupts: [{event: j, handler: h}]
            nodes: wait for go
          h: {nodes: work}
        """,
    "any-with-losers": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: c, next: two}
              two: {kind: START_THREAD, thread: d, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: one}, {output: two}], strategy: ANY, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
          c: {nodes: work}
          d:
            interrupts: [{event: j, handler: h}]
            nodes: work
          h: {nodes: work}
        """,
    "first-with-child-failure-handler": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: c, next: two}
              two: {kind: START_THREAD, thread: c, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: [{output: one}, {output: two}]
                strategy: FIRST
                on_child_failure: [{catch: EXCEPTION, handler: f}]
                next: end
                on_failure: [{handler: f}]
              end: {kind: EXIT}
          c: {nodes: work}
          f:
            interrupts: [{event: j, handler: h}]
            nodes: work
          h: {nodes: pass}
        """,
    "all-with-child-failure-handler": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: c, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: [{output: one}]
                on_child_failure: [{handler: f}]
                next: end
              end: {kind: EXIT}
          c:
            interrupts: [{event: j, handler: h}]
            nodes: work
          f: {nodes: work}
          h: {nodes: work}
        """,
    "grandchildren": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h, policy: serial}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: spawn}], next: end, on_failure: [{handler: h}]}
              end: {kind: EXIT}
          c:
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: d, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: end}
              end: {kind: EXIT}
          d:
            interrupts: [{event: j, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: end, on_failure: [{catch: EXCEPTION, handler: h}]}
              end: {kind: EXIT}
          h: {nodes: work}
        """,
    "handlers-with-children": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h, policy: latest, preemptive: true}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: end, on_failure: [{handler: f}]}
              end: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: spawn}], next: end, on_failure: [{handler: c}]}
              end: {kind: EXIT}
          f:
            interrupts: [{event: j, handler: c, halt: false}]
            nodes: wait for go
          c: {nodes: work}
        """,
    "waits-across-the-tree": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            variables: {child: {type: INT}}
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn:
                kind: START_THREAD
                thread: c
                next: {to: other, set: [{var: child, op: ASSIGN, value: {output: spawn}}]}
              other: {kind: START_THREAD, thread: d, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: other}], next: end, on_failure: [{handler: h}]}
              end: {kind: EXIT}
          c:
            interrupts: [{event: j, handler: w}]
            nodes:
              start: {kind: ENTRYPOINT, next: down}
              down: {kind: START_THREAD, thread: w, next: end}
              end: {kind: EXIT}
          d:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{var: child}], next: end, on_child_failure: [{handler: w}]}
              end: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{var: child}], next: end, on_failure: [{handler: w}]}
              end: {kind: EXIT}
          w: {nodes: work}
        """,
    "waits-below-one-that-fails": """
        external_events: {i: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            variables: {grandchild: {type: INT, default: 0}}
            interrupts: [{event: i, handler: w}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: until}
              until: {kind: WAIT_FOR_CONDITION, condition: {gt: [{var: grandchild}, 0]}, next: other}
              other: {kind: START_THREAD, thread: d, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: other}, {output: spawn}], strategy: ANY, next: end}
              end: {kind: EXIT}
          c:
            nodes:
              start: {kind: ENTRYPOINT, next: down}
              down:
                kind: START_THREAD
                thread: w
                next: {to: work, set: [{var: grandchild, op: ASSIGN, value: {output: down}}]}
              work: {kind: TASK, task: t, next: end}
              end: {kind: EXIT}
          d:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: [{var: grandchild}]
                next: end
                on_child_failure: [{handler: w}]
                on_failure: [{catch: oops, handler: w}]
              end: {kind: EXIT}
          w: {nodes: work}
        """,
    "timers": """
        external_events: {i: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: nap}
              nap: {kind: SLEEP, seconds: 10, next: wait}
              wait:
                kind: EXTERNAL_EVENT
                event: go
                timeout_s: 10
                next: work
                on_failure: [{catch: TIMEOUT, handler: h}]
              work: {kind: TASK, task: t, retries: 1, backoff: {base_ms: 5000, multiplier: 2, max_ms: 60000}, next: end}
              end: {kind: EXIT}
          h:
            nodes: {start: {kind: ENTRYPOINT, next: nap}, nap: {kind: SLEEP, seconds: 15, next: end}, end: {kind: EXIT}}
        """,
    "times-that-begin-while-halted": """
        external_events: {i: {}, k: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            variables: {v: {type: INT, default: 1}, past: {type: INT, default: 0}}
            interrupts: [{event: i, handler: w}]
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: kid, next: two}
              two: {kind: START_THREAD, thread: gate, next: three}
              three: {kind: START_THREAD, thread: broken, next: until}
              until:
                kind: WAIT_FOR_CONDITION
                condition: {gt: [{divide: [1, {var: v}]}, 5]}
                next: end
                on_failure: [{catch: VAR_SUB_ERROR, handler: f}]
              end: {kind: EXIT}
          kid:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: k, next: {to: nap, set: [{var: v, op: ASSIGN, value: 0}]}}
              nap: {kind: SLEEP, seconds: 10, next: until}
              until: {kind: SLEEP, until: {var: past}, next: end}
              end: {kind: EXIT}
          gate:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: k, next: {to: gate, set: [{var: v, op: ASSIGN, value: 0}]}}
              gate: {kind: EXTERNAL_EVENT, event: go, timeout_s: 5, next: end}
              end: {kind: EXIT}
          broken:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: k, next: {to: nap, set: [{var: v, op: ASSIGN, value: 0}]}}
              nap: {kind: SLEEP, seconds: {subtract: [{var: v}, 1]}, next: gate, on_failure: [{handler: f}]}
              gate: {kind: EXTERNAL_EVENT, event: go, timeout_s: {subtract: [{var: v}, 1]}, next: end}
              end: {kind: EXIT}
          f: {nodes: wait for go}
          w: {nodes: work}
        """,
    "times-that-begin-with-a-rescue": """
        external_events: {i: {}, k: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            variables: {v: {type: INT, default: 1}}
            interrupts: [{event: i, handler: w}]
            nodes:
              start: {kind: ENTRYPOINT, next: one}
              one: {kind: START_THREAD, thread: kid, next: two}
              two: {kind: START_THREAD, thread: naps, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: one}, {output: two}], strategy: ANY, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, timeout_s: 20, next: end}
              end: {kind: EXIT}
          kid:
            nodes:
              start: {kind: ENTRYPOINT, next: grand}
              grand: {kind: START_THREAD, thread: naps, next: until}
              until: {kind: WAIT_FOR_CONDITION, condition: {gt: [{divide: [1, {var: v}]}, 5]}, next: end}
              end: {kind: EXIT}
          naps:
            interrupts: [{event: k, handler: p}]
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, timeout_s: 5, next: nap, on_failure: [{handler: p}]}
              nap: {kind: SLEEP, seconds: 10, next: end}
              end: {kind: EXIT}
          p:
            nodes:
              start: {kind: ENTRYPOINT, next: {to: end, set: [{var: v, op: ASSIGN, value: 0}]}}
              end: {kind: EXIT}
          w: {nodes: work}
        """,
    "condition-and-variables": """
        external_events: {i: {type: INT}, j: {}, go: {}}
        threads:
          main:
            variables: {n: {type: INT, default: 2}}
            interrupts: [{event: i, handler: h, preemptive: true}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: until}
              until: {kind: WAIT_FOR_CONDITION, condition: {le: [{var: n}, 0]}, next: end}
              end: {kind: EXIT, return: {var: n}}
          c:
            interrupts: [{event: j, handler: g, halt: false, policy: serial}]
            nodes:
              start: {kind: ENTRYPOINT, next: until}
              until: {kind: WAIT_FOR_CONDITION, condition: {lt: [{var: n}, 2]}, next: end}
              end: {kind: EXIT}
          h:
            variables: {INPUT: {type: INT}}
            nodes:
              start: {kind: ENTRYPOINT, next: {to: end, set: [{var: n, op: SUBTRACT, value: 1}]}}
              end: {kind: EXIT}
          g:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: {to: end, set: [{var: n, op: SUBTRACT, value: 1}]}}
              end: {kind: EXIT}
        """,
    "handlers-that-fail": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: [{output: spawn}]
                on_child_failure: [{catch: killed, handler: f}]
                next: end
                on_failure: [{catch: ERROR, handler: f}]
              end: {kind: EXIT}
          c:
            interrupts: [{event: i, handler: h}, {event: j, handler: k, halt: false}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: end, on_failure: [{handler: k}]}
              end: {kind: EXIT, on_failure: [{handler: f}]}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: clean}
              clean: {kind: TASK, task: t, next: end, on_failure: [{catch: EXCEPTION, handler: f}]}
              end: {kind: EXIT, fail: {name: killed}}
          k: {nodes: {start: {kind: ENTRYPOINT, next: end}, end: {kind: EXIT, fail: {name: killed}}}}
          f: {nodes: wait for go}
        """,
    "room-for-four": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        limits: {live_threads: 4}
        threads:
          main:
            interrupts: [{event: i, handler: h}, {event: j, handler: h, policy: latest, halt: false}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_THREAD, thread: c, next: work, on_failure: [{handler: h}]}
              work: {kind: TASK, task: t, next: wait, on_failure: [{handler: h}]}
              wait: {kind: EXTERNAL_EVENT, event: go, next: more}
              more: {kind: START_THREAD, thread: c, next: end}
              end: {kind: EXIT}
          c: {nodes: work}
          h: {nodes: work}
        """,
    "retries": """
        external_events: {i: {}, j: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, retries: 2, timeout_s: 10, next: again}
              again:
                kind: TASK
                task: t
                retries: 1
                timeout_s: 10
                backoff: {base_ms: 5000, multiplier: 2, max_ms: 60000}
                next: end
                on_failure: [{catch: TIMEOUT, handler: h}]
              end: {kind: EXIT}
          h:
            interrupts: [{event: j, handler: g}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, retries: 1, next: end}
              end: {kind: EXIT}
          g: {nodes: work}
        """,
    "all-policies-that-come-early": """
        external_events: {i: {}, j: {}, k: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts:
              - {event: i, handler: h, policy: serial, preemptive: true}
              - {event: j, handler: h, policy: latest, preemptive: true, halt: false}
              - {event: k, handler: g, preemptive: true}
            nodes: wait for go
          h:
            nodes: work
          g:
            nodes: {start: {kind: ENTRYPOINT, next: nap}, nap: {kind: SLEEP, seconds: 5, next: end}, end: {kind: EXIT}}
        """,
    "children-that-start-halted": """
        external_events: {i: {}, j: {}, go: {}}
        threads:
          main:
            variables: {n: {type: INT, default: 1}}
            nodes:
              start: {kind: ENTRYPOINT, next: kid}
              kid:
                kind: START_THREAD
                thread: kid
                next: {to: other, set: [{var: n, op: DIVIDE, value: 0}]}
                on_failure: [{handler: f}]
              other: {kind: START_THREAD, thread: kid, next: {to: end, set: [{var: n, op: DIVIDE, value: 0}]}}
              end: {kind: EXIT}
          kid:
            interrupts:
              - {event: i, handler: h, policy: serial, preemptive: true}
              - {event: j, handler: h, policy: latest, preemptive: true}
            nodes: wait for go
          h: {nodes: pass}
          f: {nodes: wait for go}
        """,
    "children-that-fail-at-their-start": """
        external_events: {i: {}, j: {}, go: {}}
        threads:
          main:
            variables: {n: {type: INT, default: 1}}
            nodes:
              start: {kind: ENTRYPOINT, next: kid}
              kid: {kind: START_THREAD, thread: kid, next: grand}
              grand: {kind: START_THREAD, thread: mid, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, next: {to: end, set: [{var: n, op: DIVIDE, value: 0}]}}
              end: {kind: EXIT}
          mid:
            nodes:
              start: {kind: ENTRYPOINT, next: kid}
              kid: {kind: START_THREAD, thread: kid, next: {to: end, set: [{var: n, op: DIVIDE, value: 0}]}}
              end: {kind: EXIT}
          kid:
            interrupts:
              - {event: i, handler: h, policy: serial, preemptive: true}
              - {event: j, handler: h, policy: latest, preemptive: true, halt: false}
            nodes:
              start:
                kind: ENTRYPOINT
                next: {to: end, set: [{var: n, op: DIVIDE, value: 0}]}
                on_failure: [{catch: EXCEPTION, handler: h}]
              end: {kind: EXIT}
          h: {nodes: pass}
        """,
    "many-children": """
        external_events: {i: {}, j: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            variables: {items: {type: JSON_ARR, default: [1, 2]}}
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: spawn}
              spawn: {kind: START_MULTIPLE_THREADS, thread: c, over: {var: items}, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: {output: spawn}
                strategy: ANY
                on_child_failure: [{catch: TIMEOUT, handler: h}]
                next: end
              end: {kind: EXIT}
          c:
            interrupts: [{event: j, handler: h, policy: serial}]
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: go, timeout_s: 10, next: end}
              end: {kind: EXIT}
          h: {nodes: work}
        """,
    "losers-with-handlers": """
        external_events: {x: {}, i: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: l}
              l: {kind: START_THREAD, thread: loser, next: o}
              o: {kind: START_THREAD, thread: other, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: [{output: l}, {output: o}]
                strategy: ANY
                next: end
                on_child_failure: [{handler: f}]
              end: {kind: EXIT}
          loser:
            nodes:
              start: {kind: ENTRYPOINT, next: k}
              k: {kind: START_THREAD, thread: kid, next: work}
              work: {kind: TASK, task: t, next: end, on_failure: [{handler: f}]}
              end: {kind: EXIT}
          kid: {nodes: work}
          other: {nodes: wait for x}
          f: {nodes: work}
          h: {nodes: work}
        """,
    "waits-across-threads": """
        external_events: {x: {}, y: {}, i: {}}
        tasks: {t: {}}
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: a}
              a: {kind: START_THREAD, thread: a, next: b}
              b: {kind: START_THREAD, thread: b, next: o}
              o: {kind: START_THREAD, thread: o, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: b}, {output: o}], strategy: FIRST, next: end}
              end: {kind: EXIT, on_failure: [{handler: p}]}
          a:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: end, on_failure: [{catch: EXCEPTION, handler: p}]}
              end: {kind: EXIT}
          b:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [1], next: gate, on_child_failure: [{handler: f}]}
              gate: {kind: EXTERNAL_EVENT, event: y, next: join2}
              join2: {kind: WAIT_FOR_THREADS, threads: [1, 3, 4], strategy: ANY, next: end, on_failure: [{handler: p}]}
              end: {kind: EXIT}
          o: {nodes: wait for x}
          f: {nodes: work}
          h: {nodes: work}
          p: {nodes: pass}
        """,
    "siblings-at-the-cap": """
        external_events: {i: {}, go: {}, x: {}}
        tasks: {t: {}}
        limits: {live_threads: 6}
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: kids}
              kids: {kind: START_MULTIPLE_THREADS, thread: kid, over: [1, 2], next: gate}
              gate: {kind: EXTERNAL_EVENT, event: go, next: more}
              more: {kind: START_THREAD, thread: kid, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: {output: kids}, strategy: ANY, next: end}
              end: {kind: EXIT}
          kid:
            interrupts: [{event: i, handler: h, policy: latest, preemptive: true}]
            nodes: work
          h: {nodes: wait for x}
        """,
    "beside-with-policies": """
        external_events: {i: {}, j: {}, k: {}, go: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts:
              - {event: i, handler: h, halt: false, policy: serial}
              - {event: j, handler: h2, policy: serial}
              - {event: k, handler: h3, halt: false, policy: latest, preemptive: true}
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: end, on_failure: [{handler: f}]}
              end: {kind: EXIT}
          h: {nodes: pass}
          h2: {nodes: work}
          h3: {nodes: wait for go}
          f: {nodes: wait for go}
        """,
    "one-failure-two-waiters": """
        external_events: {x: {}, i: {}}
        tasks: {t: {}}
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: a}
              a: {kind: START_THREAD, thread: mid, next: w}
              w: {kind: START_THREAD, thread: w, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: [{output: a}]
                next: join2
                on_child_failure: [{catch: ERROR, handler: f}]
                on_failure: [{handler: p}]
              join2: {kind: WAIT_FOR_THREADS, threads: [{output: w}], next: end}
              end: {kind: EXIT}
          mid:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: c}
              c: {kind: START_THREAD, thread: leaf, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: c}], next: end}
              end: {kind: EXIT}
          leaf: {nodes: work}
          w:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [1, 3], next: end, on_child_failure: [{handler: f}]}
              end: {kind: EXIT}
          f: {nodes: work}
          h: {nodes: work}
          p: {nodes: pass}
        """,
    "waiter-elsewhere": """
        external_events: {x: {}, i: {}}
        tasks: {t: {}}
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: c}
              c: {kind: START_THREAD, thread: mid, next: v}
              v: {kind: START_THREAD, thread: waiter, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: c}], next: end, on_failure: [{handler: p}]}
              end: {kind: EXIT, on_failure: [{handler: p}]}
          mid:
            nodes:
              start: {kind: ENTRYPOINT, next: k}
              k: {kind: START_THREAD, thread: kid, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: k}], next: end, on_failure: [{handler: p}]}
              end: {kind: EXIT}
          kid: {nodes: work}
          waiter:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [3], next: end, on_child_failure: [{handler: w}]}
              end: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [1], next: end}
              end: {kind: EXIT}
          w: {nodes: work}
          p: {nodes: pass}
        """,
    "loser-below-whom-others-wait": """
        external_events: {x: {}, i: {}, y: {}}
        tasks: {t: {}}
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: l}
              l: {kind: START_THREAD, thread: loser, next: v}
              v: {kind: START_THREAD, thread: waiter, next: o}
              o: {kind: START_THREAD, thread: o, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [{output: l}, {output: o}], strategy: ANY, next: end}
              end: {kind: EXIT, on_failure: [{handler: p}]}
          loser:
            nodes:
              start: {kind: ENTRYPOINT, next: k}
              k: {kind: START_THREAD, thread: kid, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: y, next: end}
              end: {kind: EXIT}
          kid: {nodes: work}
          waiter:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join:
                kind: WAIT_FOR_THREADS
                threads: [4, 3]
                strategy: ANY
                next: end
                on_child_failure: [{catch: EXCEPTION, handler: w}]
              end: {kind: EXIT}
          o: {nodes: wait for x}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [1], next: end}
              end: {kind: EXIT}
          w: {nodes: work}
          p: {nodes: pass}
        """,
    "circles": """
        external_events: {i: {}, x: {}}
        tasks: {t: {}}
        threads:
          main:
            nodes:
              start: {kind: ENTRYPOINT, next: a}
              a: {kind: START_THREAD, thread: a, next: b}
              b: {kind: START_THREAD, thread: b, next: end}
              end: {kind: EXIT, on_failure: [{handler: p}]}
          a:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: c}
              c: {kind: START_THREAD, thread: c, next: work}
              work: {kind: TASK, task: t, next: end, on_failure: [{handler: h}]}
              end: {kind: EXIT, on_failure: [{handler: p}]}
          b:
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [3, 1], strategy: ANY, next: end, on_failure: [{handler: p}]}
              end: {kind: EXIT}
          c:
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: x, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [2], next: end}
              end: {kind: EXIT}
          h:
            nodes:
              start: {kind: ENTRYPOINT, next: join}
              join: {kind: WAIT_FOR_THREADS, threads: [2], next: end}
              end: {kind: EXIT}
          p: {nodes: pass}
        """,
    "EXIT-that-fails-and-is-handled": """
        external_events: {x: {}, i: {}, j: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h, halt: false}, {event: j, handler: g}]
            nodes:
              start: {kind: ENTRYPOINT, next: c}
              c: {kind: START_THREAD, thread: c, next: end}
              end: {kind: EXIT, fail: {name: oops}, on_failure: [{handler: f}]}
          c:
            nodes: work
          f: {nodes: wait for x}
          h: {nodes: wait for x}
          g: {nodes: pass}
        """,
    "time-outs-under-interrupts": """
        external_events: {a: {}, i: {}, x: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h, policy: serial}]
            nodes:
              start: {kind: ENTRYPOINT, next: c}
              c: {kind: START_THREAD, thread: c, next: gate}
              gate:
                kind: EXTERNAL_EVENT
                event: a
                timeout_s: 5
                next: again
                on_failure: [{catch: TIMEOUT, handler: f}]
              again: {kind: EXTERNAL_EVENT, event: a, timeout_s: 0, next: end, on_failure: [{handler: f}]}
              end: {kind: EXIT}
          c:
            interrupts: [{event: x, handler: g, halt: false}]
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work:
                kind: TASK
                task: t
                retries: 1
                backoff: {base_ms: 1000}
                timeout_s: 3
                next: end
                on_failure: [{handler: p}]
              end: {kind: EXIT}
          f: {nodes: pass}
          h: {nodes: work}
          g: {nodes: work}
          p: {nodes: wait for a}
        """,
    "queueing-and-running": """
        external_events: {i: {}}
        tasks: {t: {}}
        threads:
          main:
            interrupts: [{event: i, handler: h}]
            nodes:
              start: {kind: ENTRYPOINT, next: c}
              c: {kind: START_THREAD, thread: c, next: work}
              work:
                kind: TASK
                task: t
                queue_timeout_s: 4
                run_timeout_s: 2
                retries: 1
                next: end
                on_failure: [{catch: TIMEOUT, handler: h}]
              end: {kind: EXIT}
          c:
            nodes:
              start: {kind: ENTRYPOINT, next: work}
              work: {kind: TASK, task: t, run_timeout_s: 3, retries: 1, backoff: {base_ms: 1000}, next: end}
              end: {kind: EXIT}
          h: {nodes: work}
        """,
}


def document_of(name: str) -> dict[str, Any]:
    """Return the definitions of a small WfSpec as the beginning of a scenario document."""
    return deepcopy(_read(name))


@cache
def _read(name: str) -> dict[str, Any]:
    text: dict[str, Any] = yaml.safe_load(_TEXTS[name])
    threads = text.pop("threads")
    for thread in threads.values():
        thread["nodes"] = _written_out(thread["nodes"])
    return {"name": name, **text, "wf_specs": [{"name": "small", "entrypoint": "main", "threads": threads}]}


def _written_out(nodes: Any) -> Any:
    end = {"kind": "EXIT"}
    match nodes.split() if isinstance(nodes, str) else None:
        case ["pass"]:
            return {"start": {"kind": "ENTRYPOINT", "next": "end"}, "end": end}
        case ["work"]:
            work = {"kind": "TASK", "task": "t", "next": "end"}
            return {"start": {"kind": "ENTRYPOINT", "next": "work"}, "work": work, "end": end}
        case ["wait", "for", event]:
            wait = {"kind": "EXTERNAL_EVENT", "event": event, "next": "end"}
            return {"start": {"kind": "ENTRYPOINT", "next": "wait"}, "wait": wait, "end": end}
        case _:
            return nodes


NAMES: Final = tuple(_TEXTS)
