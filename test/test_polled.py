"""Subscriptions that are read now and then: nothing is lost, and the executor is not woken."""

from std_msgs.msg import String

from gsc_ros.ros import topics
from gsc_ros.ros.polled import Polled


def test_all_that_came_is_read_in_its_order(bench):
    got = []
    polled = Polled(bench.peer)
    polled.subscribe(String, 'words', got.append, topics.TF_IN)
    words = bench.peer.create_publisher(String, 'words', topics.TF_QOS)
    bench.wait(words.get_subscription_count, 'it is found')
    for i in range(200):
        words.publish(String(data=str(i)))
    bench.wait(lambda: len(got) == 200, 'all words')
    assert [m.data for m in got] == [str(i) for i in range(200)]
    # At once, when it is asked for.
    words.publish(String(data='last'))
    bench.wait(lambda: polled.read() or len(got) == 201)


def test_a_subscription_that_is_closed_is_left(bench):
    polled = Polled(bench.peer)
    polled.subscribe(String, 'words', lambda m: None, topics.TF_IN)
    bench.settle()
    bench.peer.destroy_subscription(polled._topics[0][0])
    polled.read()
