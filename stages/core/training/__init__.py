"""Training, the same loop for every stage that trains: pretrain, distill and finetune."""
