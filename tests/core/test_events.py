from supervise.core.events import (
    AT_REST,
    RUNNING_STATES,
    STOPPED_STATES,
    DaemonChanged,
    DaemonState,
    GroupAdded,
    GroupRemoved,
    RemoteCommunication,
    State,
    StateChanged,
)


def test_the_numbers_are_supervisords() -> None:
    assert {state.name: state.value for state in State} == {
        "STOPPED": 0,
        "STARTING": 10,
        "RUNNING": 20,
        "BACKOFF": 30,
        "STOPPING": 40,
        "EXITED": 100,
        "FATAL": 200,
        "UNKNOWN": 1000,
    }
    assert {state.name: state.value for state in DaemonState} == {
        "SHUTDOWN": -1,
        "RESTARTING": 0,
        "RUNNING": 1,
        "FATAL": 2,
    }


def test_the_groups_of_states() -> None:
    assert set(State) - RUNNING_STATES - STOPPED_STATES == {State.STOPPING}
    assert AT_REST < STOPPED_STATES


def test_notifications_bear_supervisords_types() -> None:
    change = StateChanged("g", "p", State.STARTING, State.RUNNING, True, 0, 7, 0.0)
    assert [
        change.type,
        GroupAdded("g").type,
        GroupRemoved("g").type,
        DaemonChanged(DaemonState.RUNNING).type,
        DaemonChanged(DaemonState.RESTARTING).type,
        RemoteCommunication("t", "d").type,
    ] == [
        "PROCESS_STATE_RUNNING",
        "PROCESS_GROUP_ADDED",
        "PROCESS_GROUP_REMOVED",
        "SUPERVISOR_STATE_CHANGE_RUNNING",
        "SUPERVISOR_STATE_CHANGE_STOPPING",
        "REMOTE_COMMUNICATION",
    ]
