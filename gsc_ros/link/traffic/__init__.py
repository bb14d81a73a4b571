"""What goes over a link and when: pacing, priorities, rules for messages, reports, transports."""
