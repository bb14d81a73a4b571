"""Goals and requests through running links: up to the robot's nodes, and what comes of them."""

import math
import time

import pytest
from action_msgs.msg import GoalStatus, GoalStatusArray
from bench import drive
from geometry_msgs.msg import PoseStamped, Twist
from gsc_ros.msg import LinkStatus
from rclpy.parameter import Parameter
from std_msgs.msg import Bool, Empty, Float32, String, UInt16

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.goals import Goal, GoalState
from gsc_ros.link.datagrams.payloads import Request
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.datagrams.stills import StillAsk
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.nodes.guard import Guard
from gsc_ros.nodes.link import LinkNode
from gsc_ros.ros import topics

STAMP = int(time.time()) - 5, 123_456_789  # of an image of a while ago


def pose(x=4.0, y=-1.0, yaw=0.5):
    message = PoseStamped()
    message.header.stamp.sec, message.header.stamp.nanosec = STAMP
    message.pose.position.x, message.pose.position.y = x, y
    message.pose.orientation.z, message.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


@pytest.fixture
def goals(bench):
    """A simulated link with a guard; ``bench.say`` gives goals, `bench.nav` is nav2's status."""
    for kind, topic, quality in (
        (PoseStamped, topics.GOAL_POSE, topics.IMAGES),
        (Empty, topics.GOAL_CANCEL, topics.IMAGES),
        (String, topics.GOAL_STATE, topics.LATCHED),
        (LinkStatus, topics.STATUS, topics.LATCHED),
        (Twist, topics.CMD_VEL, topics.IMAGES),
    ):
        bench.subscribe(kind, topic, quality)
    publish = bench.peer.create_publisher
    bench.goal = publish(PoseStamped, topics.GOAL, topics.NEWEST)
    bench.end = publish(Empty, topics.GOAL_END, topics.NEWEST)
    bench.halt = publish(Bool, topics.STOP, topics.NEWEST)
    bench.teleop = publish(Twist, topics.TELEOP, topics.NEWEST)
    bench.nav = publish(GoalStatusArray, f'{topics.GOAL_ACTION}/status', topics.LATCHED)
    bench.add(Guard)
    # On a machine that is slow at times, what is given once must not be too old.
    bench.link = bench.add(LinkNode, profile='ideal', security=False, command_max_age_s=30.0)
    for one in (bench.goal, bench.end, bench.halt, bench.teleop, bench.nav):
        bench.wait(one.get_subscription_count, 'the link listens')
    for topic in (topics.GOAL_POSE, topics.GOAL_CANCEL, topics.GOAL_STATE):
        name = f'{bench.namespace}/{topic}'
        bench.wait(lambda name=name: bench.link.count_subscribers(name))
    bench.wait(lambda: bench.link.down.receiver.session, 'the ground knows the robot')
    bench.wait(lambda: not bench.link.robot.commands.guard_missing)
    return bench


def state(bench):
    return bench.got[topics.GOAL_STATE][-1].data if bench.got[topics.GOAL_STATE] else ''


def give(bench):
    """Give a goal until the robot has it."""
    count = len(bench.got[topics.GOAL_POSE])
    bench.goal.publish(pose())
    bench.wait(lambda: len(bench.got[topics.GOAL_POSE]) > count, 'the goal arrives')
    bench.wait(lambda: state(bench) == 'given', 'its state comes back')


def test_a_link_that_closes_ends_the_goal(goals):
    give(goals)
    goals.executor.create_task(goals.link.trigger_deactivate)
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the end of goals')


def test_a_ground_that_falls_silent_ends_the_goal(goals):
    give(goals)
    goals.link.set_parameters([Parameter('goal_silence_s', value=2.0)])
    time.sleep(3.0)
    assert not goals.got[topics.GOAL_CANCEL], 'its reports come'
    goals.link.ground.step = lambda now: None  # it says nothing any more
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the end of goals')
    assert goals.link.robot.goals.keeper.state is GoalState.CANCELLED


def test_a_silence_while_the_link_is_closed_ends_no_goal(goals):
    give(goals)
    goals.link.set_parameters([Parameter('goal_silence_s', value=1.0)])
    sender = goals.link.down.sender
    sender.rate_at = lambda now: (0.0, None)
    goals.link.ground.step = lambda now: None
    time.sleep(3.0)
    assert not goals.got[topics.GOAL_CANCEL]
    del sender.rate_at  # it opens, and nothing comes
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the end of goals')


def status(number, value):
    one = GoalStatus(status=value)
    one.goal_info.goal_id.uuid = [number] * 16
    one.goal_info.stamp.sec = number
    return one


def test_a_goal_arrives_as_it_was_given_and_its_state_comes_back(goals):
    goals.nav.publish(GoalStatusArray(status_list=[status(1, GoalStatus.STATUS_SUCCEEDED)]))
    goals.wait(lambda: goals.link.robot.goals._listed)  # another's, from before
    give(goals)
    (message,) = goals.got[topics.GOAL_POSE]
    assert message.header.frame_id == 'base_link'
    stamp = message.header.stamp
    assert (stamp.sec, stamp.nanosec) == STAMP  # exactly
    at, turn = message.pose.position, message.pose.orientation
    assert (at.x, at.y) == (4.0, -1.0)
    assert 2 * math.atan2(turn.z, turn.w) == pytest.approx(0.5, abs=math.pi / 256)
    for value, text in (
        (GoalStatus.STATUS_EXECUTING, 'active'),
        (GoalStatus.STATUS_SUCCEEDED, 'reached'),
    ):
        listed = [status(1, GoalStatus.STATUS_SUCCEEDED), status(2, value)]
        goals.nav.publish(GoalStatusArray(status_list=listed))
        goals.wait(lambda text=text: state(goals) == text, text)


def test_the_end_of_goals_arrives(goals):
    give(goals)
    goals.end.publish(Empty())
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the end arrives')
    goals.wait(lambda: state(goals) == 'cancelled')


def test_an_end_of_a_ground_that_began_anew_ends_a_goal_of_the_same_number(goals):
    give(goals)
    robot = goals.link.robot.goals
    end = Goal(goals.link.time_ns // 1000, robot.keeper.number, None)

    def take():
        robot.take(end, '')
        robot.take(end, '')  # a repeat

    goals.executor.create_task(take)
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the end of goals')
    time.sleep(0.5)
    assert len(goals.got[topics.GOAL_CANCEL]) == 1
    assert robot.keeper.state is GoalState.CANCELLED


def test_a_stop_ends_goals_and_none_is_taken_under_it(goals):
    give(goals)
    goals.halt.publish(Bool(data=True))
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the STOP ends the goal')
    goals.wait(lambda: goals.got[topics.STATUS][-1].stop == LinkStatus.STOP_HELD)
    goals.goal.publish(pose())
    goals.wait(lambda: goals.link.refused, 'the ground refuses it')
    assert len(goals.got[topics.GOAL_POSE]) == 1
    assert len(goals.got[topics.GOAL_CANCEL]) == 1  # however often the STOP comes


def test_what_navigation_follows_under_a_stop_is_ended_again(goals):
    give(goals)
    goals.halt.publish(Bool(data=True))
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the STOP ends the goal')
    # It is accepted only now: nav2 took the service before the topic.
    going = GoalStatusArray(status_list=[status(2, GoalStatus.STATUS_EXECUTING)])
    goals.nav.publish(going)
    goals.wait(lambda: len(goals.got[topics.GOAL_CANCEL]) > 2, 'it is ended until it ends')
    goals.nav.publish(GoalStatusArray(status_list=[status(2, GoalStatus.STATUS_CANCELED)]))
    goals.wait(lambda: not goals.link.robot.goals._going)


def test_a_goal_that_is_accepted_after_its_end_is_ended_again(goals):
    give(goals)
    goals.end.publish(Empty())
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the end arrives')
    robot = goals.link.robot.goals
    robot._ended_at = time.monotonic()  # however slow this machine is
    robot._on_status(GoalStatusArray(status_list=[status(2, GoalStatus.STATUS_ACCEPTED)]))
    goals.wait(lambda: len(goals.got[topics.GOAL_CANCEL]) == 2)


def test_driving_by_hand_ends_a_goal_that_this_link_has_not_given(goals):
    going = GoalStatusArray(status_list=[status(1, GoalStatus.STATUS_EXECUTING)])
    goals.nav.publish(going)
    goals.wait(lambda: goals.link.robot.goals._going)
    goals.teleop.publish(drive(0.5))
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'it is driven by hand')


def test_driving_by_hand_ends_a_goal(goals):
    give(goals)
    goals.teleop.publish(drive(0.5))
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'it is driven by hand')
    goals.wait(lambda: state(goals) == 'cancelled')


def test_a_place_that_cannot_be_sent_is_refused(goals):
    fixed, undated = pose(), pose()
    fixed.header.frame_id = 'map'
    undated.header.stamp.sec = undated.header.stamp.nanosec = 0
    for count, message in enumerate((pose(x=1e6), fixed, undated), 1):
        goals.goal.publish(message)
        goals.wait(lambda count=count: goals.link.refused == count)
    assert not goals.got[topics.GOAL_POSE]


def test_budget_and_rate_reach_the_encoder(goals):
    budgets = goals.peer.create_publisher(UInt16, topics.BUDGET, topics.NEWEST)
    rates = goals.peer.create_publisher(Float32, topics.RATE, topics.NEWEST)
    encoder = goals.add(Encoder, weights='random')
    goals.wait(lambda: budgets.get_subscription_count() and rates.get_subscription_count())
    goals.wait(lambda: goals.link.count_subscribers(f'{goals.namespace}/{topics.RATE_WANTED}'))
    goals.wait(lambda: goals.link.count_subscribers(f'{goals.namespace}/{topics.BUDGET_WANTED}'))
    rates.publish(Float32(data=0.5))
    goals.wait(lambda: encoder.values.max_rate == 0.5, 'the rate arrives')
    budgets.publish(UInt16(data=60_000))
    goals.wait(
        lambda: encoder.values.budget_bytes == 2000, 'the budget arrives, within its limits'
    )
    refused = goals.link.refused
    rates.publish(Float32(data=math.nan))
    budgets.publish(UInt16(data=0))
    goals.wait(lambda: goals.link.refused == refused + 2)


def test_what_came_in_part_is_not_read_as_something_shorter(goals):
    give(goals)
    robot, stamp_us = goals.link.robot, goals.link.time_ns // 1000
    ask = Request(still=StillAsk.of(3, {5, 9}).pack()).pack()
    end = Goal(stamp_us, 200, None).pack()
    parts = [
        Received(TrafficClass.REQUEST, 1, ask[:2], truncated=True),  # nothing of still 3 has come
        Received(TrafficClass.GOAL, 2, end, truncated=True),  # a goal without its place
    ]
    task = goals.executor.create_task(lambda: [robot.on_received(one, 0.0) for one in parts])
    goals.wait(task.done)
    assert robot._stills._sender.cameras[0].number == 0
    assert robot.goals.keeper.state is GoalState.GIVEN
    whole = Received(TrafficClass.REQUEST, 3, ask, truncated=False)
    task = goals.executor.create_task(lambda: robot.on_received(whole, 0.0))
    goals.wait(lambda: robot._stills._sender.cameras[0].number == 3)


def test_a_robots_end_that_begins_anew_has_forgotten_the_goal_and_a_stop_ends_it(goals):
    give(goals)
    ground = goals.link.ground
    goals.executor.create_task(lambda: ground._on_robot_session(7, 0.0))
    goals.wait(lambda: state(goals) == 'forgotten', 'the page is told')
    goals.halt.publish(Bool(data=True))
    goals.wait(lambda: goals.got[topics.GOAL_CANCEL], 'the STOP ends what navigation follows')
    goals.wait(lambda: state(goals) == 'none')
